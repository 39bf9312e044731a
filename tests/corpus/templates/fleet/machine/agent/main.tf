terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}

variable "name" { type = string }

resource "coder_agent" "back0" {
  count = var.name == "back0" ? 1 : 0
  os    = "linux"
  arch  = "arm64"
}

resource "coder_agent" "back1" {
  count = var.name == "back1" ? 1 : 0
  os    = "linux"
  arch  = "arm64"
}

output "agent" {
  value     = concat(coder_agent.back0, coder_agent.back1)[0]
  sensitive = true
}
