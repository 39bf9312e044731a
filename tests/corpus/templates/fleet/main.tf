# Several agents, in modules two levels down and by count, each on a machine of its own, with parameters that modules bring along.
terraform {
  required_providers {
    coder = { source = "coder/coder" }
    cloud = { source = "example/cloud" }
  }
}

data "coder_workspace" "me" {}

module "front" {
  source  = "./machine"
  name    = "front"
  image   = data.cloud_image.base.ids[0]
  started = data.coder_workspace.me.start_count
}

module "back" {
  count   = 2
  source  = "./machine"
  name    = "back${count.index}"
  image   = data.cloud_image.base.ids[0]
  started = data.coder_workspace.me.start_count
}

data "cloud_image" "base" {
  family = "linux"
}

resource "cloud_group" "all" {
  machines = concat([module.front.id], module.back[*].id)
}
