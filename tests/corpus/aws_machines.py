"""Makes a machine, stops it and ends it, by the cloud's own client: `aws_machines.py URL`.

Runs under the interpreter that has boto3. Prints the states the machine was seen in.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import sys

import boto3

ec2 = boto3.client(
    "ec2",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="nobody",
    aws_secret_access_key="nothing",
)
images = ec2.describe_images(
    Owners=["099720109477"],
    Filters=[{"Name": "name", "Values": ["ubuntu/images/hvm-ssd/ubuntu-*-amd64-server-*"]}],
)["Images"]
made = ec2.run_instances(
    ImageId=images[0]["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1
)
machine = [made["Instances"][0]["InstanceId"]]


def tell() -> None:
    """Prints its state."""
    seen = ec2.describe_instances(InstanceIds=machine)["Reservations"][0]["Instances"][0]
    print(str(seen["State"]["Name"]))  # pyright: ignore[reportUnknownArgumentType]


tell()
ec2.stop_instances(InstanceIds=machine)
tell()
ec2.start_instances(InstanceIds=machine)
ec2.create_tags(Resources=machine, Tags=[{"Key": "Owner", "Value": "grace"}])
tell()
ec2.terminate_instances(InstanceIds=machine)
tell()
