# A workspace is a directory and an agent process on the provisioner's host. It needs no cloud, no
# container and no provider but Terraform's own `terraform_data` and `coder/coder`, which Warmpool
# serves itself: no registry is asked, no `terraform init` is run.

terraform {
  required_providers {
    coder = {
      source = "coder/coder"
    }
  }
}

data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}
data "coder_provisioner" "me" {}

data "coder_parameter" "size" {
  name         = "size"
  display_name = "Size"
  description  = "How much of the machine the workspace may use."
  default      = "small"

  option {
    name  = "Small"
    value = "small"
  }
  option {
    name  = "Large"
    value = "large"
  }
}

# The pool: two workspaces wait for whoever comes; none waits longer than a day.
data "coder_workspace_preset" "standard" {
  name        = "Standard"
  description = "A small workspace, ready at once."
  default     = true
  parameters = {
    (data.coder_parameter.size.name) = "small"
  }

  prebuilds {
    instances = 2

    expiration_policy {
      ttl = 86400
    }

    scheduling {
      timezone = "UTC"

      # Monday to Friday, 08:00 to 18:59. The same number as outside these hours, so that this
      # example behaves alike at any time; a real pool would be larger here.
      schedule {
        cron      = "* 8-18 * * 1-5"
        instances = 2
      }
    }
  }
}

resource "coder_agent" "main" {
  count = data.coder_workspace.me.start_count
  os    = data.coder_provisioner.me.os
  arch  = data.coder_provisioner.me.arch

  # These change at a claim, and the agent's resource is updated in place: id and token stay.
  env = {
    WORKSPACE_NAME      = data.coder_workspace.me.name
    WORKSPACE_SIZE      = data.coder_parameter.size.value
    GIT_AUTHOR_NAME     = data.coder_workspace_owner.me.full_name
    GIT_AUTHOR_EMAIL    = data.coder_workspace_owner.me.email
    GIT_COMMITTER_NAME  = data.coder_workspace_owner.me.full_name
    GIT_COMMITTER_EMAIL = data.coder_workspace_owner.me.email
  }
}

resource "coder_script" "welcome" {
  count        = data.coder_workspace.me.start_count
  agent_id     = coder_agent.main[0].id
  display_name = "Welcome"
  run_on_start = true
  timeout      = 30
  script       = <<-EOT
    #!/bin/sh
    echo "workspace of ${data.coder_workspace_owner.me.name}" > owner.txt
    echo "Welcome, ${data.coder_workspace_owner.me.name}."
  EOT
}

resource "coder_script" "farewell" {
  count        = data.coder_workspace.me.start_count
  agent_id     = coder_agent.main[0].id
  display_name = "Farewell"
  run_on_stop  = true
  timeout      = 30
  script       = <<-EOT
    #!/bin/sh
    rm -f owner.txt
    echo "Good-bye, ${data.coder_workspace_owner.me.name}."
  EOT
}

# The workspace itself. Only its id goes in, which a claim does not change, so a claim leaves the
# process alone. A new token, which every start makes, replaces it.
resource "terraform_data" "workspace" {
  count            = data.coder_workspace.me.start_count
  input            = { id = data.coder_workspace.me.id }
  triggers_replace = [sha256(coder_agent.main[0].token)]

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-c"]
    command     = file("${path.module}/start.sh")
    environment = {
      WORKSPACE_ID      = self.output.id
      INIT_SCRIPT       = coder_agent.main[0].init_script
      CODER_AGENT_TOKEN = coder_agent.main[0].token
      CODER_AGENT_URL   = data.coder_workspace.me.access_url
    }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["/bin/sh", "-c"]
    command     = file("${path.module}/stop.sh")
    environment = {
      WORKSPACE_ID = self.output.id
    }
  }
}
