# A machine that is told everything by a rendered file, and the rarer things a template can ask for.
terraform {
  required_providers {
    coder     = { source = "coder/coder" }
    cloud     = { source = "example/cloud" }
    cloudinit = { source = "hashicorp/cloudinit" }
  }
}

variable "subnets" {
  type    = list(string)
  default = ["a", "b"]
}
variable "project" { type = string }

data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}
data "coder_provisioner" "me" {}
data "coder_task" "me" {}

data "coder_external_auth" "git" {
  id       = "github"
  optional = true
}

data "cloudinit_config" "user_data" {
  gzip          = false
  base64_encode = false
  part {
    content_type = "text/cloud-config"
    content = templatefile("${path.module}/cloud-config.yaml.tftpl", {
      hostname    = lower(data.coder_workspace.me.name)
      user        = lower(data.coder_workspace_owner.me.name)
      init_script = try(base64encode(coder_agent.dev.init_script), "")
      arch        = data.coder_provisioner.me.arch
    })
  }
}

data "cloud_profile" "defaults" {
  project = var.project
}

resource "coder_agent" "dev" {
  os                      = "linux"
  arch                    = data.coder_provisioner.me.arch
  auth                    = "aws-instance-identity"
  startup_script          = "echo ${jsonencode(var.subnets)}"
  startup_script_behavior = "blocking"
  shutdown_script         = "true"
}

resource "coder_agent_instance" "dev" {
  count       = data.coder_workspace.me.start_count
  agent_id    = coder_agent.dev.id
  instance_id = cloud_server.vm[0].id
}

resource "coder_devcontainer" "repo" {
  agent_id         = coder_agent.dev.id
  workspace_folder = "/home/dev/repo"
}

resource "coder_external_agent" "outside" {
  agent_id = coder_agent.outside.id
}

resource "coder_agent" "outside" {
  os   = "darwin"
  arch = "arm64"
}

resource "coder_app" "chat" {
  agent_id     = coder_agent.dev.id
  slug         = "chat"
  display_name = "Chat"
  url          = "http://localhost:1"
}

resource "coder_ai_task" "task" {
  count  = data.coder_task.me.enabled ? 1 : 0
  app_id = coder_app.chat.id
}

resource "cloud_server" "vm" {
  count     = data.coder_workspace.me.start_count
  user_data = data.cloudinit_config.user_data.rendered
  zone      = element(data.cloud_profile.defaults.zones, 0)
  limits    = jsondecode(data.cloud_profile.defaults.limits)
  memory    = tonumber(data.cloud_profile.defaults.memory) * 2
  dynamic "interface" {
    for_each = toset(var.subnets)
    content {
      subnet = interface.value
      rule {
        ports = [22, 80]
      }
    }
  }
  lifecycle {
    ignore_changes = [user_data]
  }
}
