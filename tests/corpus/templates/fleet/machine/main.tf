terraform {
  required_providers {
    coder = { source = "coder/coder" }
    cloud = { source = "example/cloud" }
  }
}

variable "name" { type = string }
variable "image" { type = string }
variable "started" { type = number }

data "coder_parameter" "cpu" {
  name    = "${var.name}_cpu"
  type    = "number"
  default = 2
  validation {
    min = 1
    max = 8
  }
}

resource "coder_agent" "dev" {
  count = var.name == "front" ? 1 : 0
  os    = "linux"
  arch  = "amd64"
}

module "worker" {
  count  = var.name == "front" ? 0 : 1
  source = "./agent"
  name   = var.name
}

locals {
  agent = var.name == "front" ? coder_agent.dev[0] : module.worker[0].agent
}

module "tools" {
  source   = "./tools"
  agent_id = local.agent.id
  slug     = "tools-${var.name}"
}

resource "cloud_server" "vm" {
  image = var.image
  cpu   = data.coder_parameter.cpu.value
  token = local.agent.token
  count = var.started
}

resource "coder_metadata" "vm" {
  count       = var.started
  resource_id = cloud_server.vm[count.index].id
  daily_cost  = 3
  item {
    key   = "name"
    value = var.name
  }
}

output "id" {
  value = try(cloud_server.vm[0].id, "")
}
