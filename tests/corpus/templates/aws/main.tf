# A machine in a cloud that is stopped rather than deleted when its workspace stops. The agent proves
# who it is by the machine's identity, so that nothing of the machine depends on a token.

terraform {
  required_providers {
    coder = {
      source = "coder/coder"
    }
    aws = {
      source = "hashicorp/aws"
    }
  }
}

data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}

data "coder_parameter" "region" {
  name    = "region"
  default = "us-east-1"
  option {
    name  = "Virginia"
    value = "us-east-1"
  }
  option {
    name  = "Frankfurt"
    value = "eu-central-1"
  }
}

data "coder_parameter" "instance_type" {
  name    = "instance_type"
  default = "t3.micro"
  mutable = true
}

data "coder_workspace_preset" "warm" {
  name = "Warm"
  parameters = {
    region        = "us-east-1"
    instance_type = "t3.micro"
  }
  prebuilds {
    instances = 1
  }
}

provider "aws" {
  region = data.coder_parameter.region.value
}

data "aws_ami" "ubuntu" {
  most_recent = true
  owners      = ["099720109477"]
  filter {
    name   = "name"
    values = ["ubuntu/images/hvm-ssd/ubuntu-*-amd64-server-*"]
  }
}

resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
  auth = "aws-instance-identity"
  env = {
    OWNER = data.coder_workspace_owner.me.name
  }
  metadata {
    key          = "load"
    display_name = "Load"
    script       = "cat /proc/loadavg"
    interval     = 10
    timeout      = 1
  }
}

locals {
  is_on = data.coder_workspace.me.transition == "start"
  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    init_script = base64encode(coder_agent.main.init_script)
  })
}

resource "aws_instance" "machine" {
  ami           = data.aws_ami.ubuntu.id
  instance_type = data.coder_parameter.instance_type.value
  user_data     = local.user_data
  tags = {
    Name  = "workspace-${data.coder_workspace.me.id}"
    Owner = data.coder_workspace_owner.me.name # changes at a claim, in place
  }
  lifecycle {
    ignore_changes = [ami, user_data]
  }
}

resource "aws_ec2_instance_state" "machine" {
  instance_id = aws_instance.machine.id
  state       = local.is_on ? "running" : "stopped"
}

resource "coder_metadata" "machine" {
  resource_id = aws_instance.machine.id
  item {
    key   = "region"
    value = data.coder_parameter.region.value
  }
  item {
    key   = "instance type"
    value = aws_instance.machine.instance_type
  }
}
