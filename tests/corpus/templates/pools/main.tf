# Presets three blocks deep, parameters that exist only for some values of others, and a provider that is told its region by a parameter.
terraform {
  required_providers {
    coder = { source = "coder/coder" }
    cloud = { source = "example/cloud" }
  }
}

locals {
  regions = { eu = "Europe", us = "America" }
  ides    = jsondecode(data.coder_parameter.ides.value)
}

provider "cloud" {
  region = data.coder_parameter.region.value
}

data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}

data "coder_parameter" "region" {
  name    = "region"
  default = "eu"
  order   = 1
  dynamic "option" {
    for_each = local.regions
    content {
      name  = option.value
      value = option.key
    }
  }
}

data "coder_parameter" "ides" {
  name      = "ides"
  type      = "list(string)"
  form_type = "multi-select"
  default   = jsonencode(["vim"])
  mutable   = true
  option {
    name  = "Vim"
    value = "vim"
  }
  option {
    name  = "Emacs"
    value = "emacs"
  }
}

data "coder_parameter" "size" {
  name    = "size"
  type    = "number"
  default = 10
  mutable = true
  option {
    name  = "small"
    value = 10
  }
  option {
    name  = "large"
    value = 50
  }
  validation {
    monotonic = "increasing"
  }
}

data "coder_parameter" "zone" {
  count   = data.coder_parameter.region.value == "us" ? 1 : 0
  name    = "zone"
  default = "us-1"
}

data "coder_workspace_preset" "warm" {
  name    = "Warm"
  default = true
  parameters = {
    (data.coder_parameter.region.name) = "us"
    (data.coder_parameter.size.name)   = 50
  }
  prebuilds {
    instances = 2
    expiration_policy {
      ttl = 86400
    }
    scheduling {
      timezone = "Europe/Vienna"
      schedule {
        cron      = "* 8-18 * * 1-5"
        instances = 5
      }
      schedule {
        cron      = "* 9-12 * * 6"
        instances = 1
      }
    }
  }
}

data "coder_workspace_tags" "tags" {
  tags = { region = data.coder_parameter.region.value }
}

resource "coder_agent" "main" {
  count = data.coder_workspace.me.start_count
  os    = "linux"
  arch  = "amd64"
  env = {
    OWNER = data.coder_workspace_owner.me.name
    IDES  = join(",", local.ides)
  }
  metadata {
    key      = "cpu"
    script   = "uptime"
    interval = 10
  }
  resources_monitoring {
    memory {
      enabled   = true
      threshold = 80
    }
    volume {
      path      = "/home"
      enabled   = true
      threshold = 90
    }
    volume {
      path      = "/tmp"
      enabled   = false
      threshold = 50
    }
  }
  display_apps {
    vscode = false
  }
}

resource "coder_app" "ide" {
  for_each     = { for ide in local.ides : ide => ide if data.coder_workspace.me.start_count > 0 }
  agent_id     = coder_agent.main[0].id
  slug         = each.key
  display_name = title(each.value)
  url          = "http://localhost:8080"
  healthcheck {
    url       = "http://localhost:8080/healthz"
    interval  = 5
    threshold = 6
  }
}

resource "cloud_disk" "home" {
  name = "home-${data.coder_workspace.me.id}"
  size = data.coder_parameter.size.value
}

resource "cloud_server" "vm" {
  count = data.coder_workspace.me.start_count
  name  = "vm-${data.coder_workspace.me.id}"
  disks = [cloud_disk.home.id]
  network {
    subnet = "10.0.0.0/24"
    address {
      public = true
      labels = { zone = try(data.coder_parameter.zone[0].value, "") }
    }
  }
  user_data = base64encode(coder_agent.main[0].init_script)
  secret    = coder_agent.main[0].token
}

resource "coder_metadata" "vm" {
  count       = data.coder_workspace.me.start_count
  resource_id = cloud_server.vm[0].id
  item {
    key   = "address"
    value = cloud_server.vm[0].addresses[0].ip
  }
  item {
    key       = "password"
    value     = cloud_server.vm[0].password
    sensitive = true
  }
}
