terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}

variable "agent_id" { type = string }
variable "slug" { type = string }

resource "coder_script" "install" {
  agent_id     = var.agent_id
  display_name = "Install ${var.slug}"
  script       = "true"
  run_on_start = true
  cron         = "0 0 3 * * *"
}

resource "coder_app" "tools" {
  agent_id     = var.agent_id
  slug         = var.slug
  display_name = "Tools"
  command      = "sh"
}

resource "coder_env" "path" {
  agent_id       = var.agent_id
  name           = "PATH_MORE"
  value          = "/opt/${var.slug}"
  merge_strategy = "append"
}
