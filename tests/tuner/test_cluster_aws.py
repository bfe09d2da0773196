"""``cluster.yaml`` and ``aws-account.yaml`` on the AWS mock of moto, without network or account."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")

from ray.autoscaler._private.aws.config import bootstrap_aws  # noqa: E402
from ray.autoscaler._private.providers import _get_node_provider  # noqa: E402
from ray.autoscaler._private.util import prepare_config  # noqa: E402
from ray.autoscaler.tags import (  # noqa: E402
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

ROOT = Path(__file__).parent.parent.parent
SSH_FROM = "203.0.113.7/32"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Outputs of the stack that was created in a mock account."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with moto.mock_aws():
        yield deploy(SSH_FROM)


def deploy(ssh_from: str) -> dict[str, str]:
    network = boto3.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    stacks = boto3.client("cloudformation")
    stacks.create_stack(
        StackName="sparsweep",
        TemplateBody=(ROOT / "tuner/clusters/aws-account.yaml").read_text(),
        Parameters=[
            {"ParameterKey": "Vpc", "ParameterValue": network},
            {"ParameterKey": "SshFrom", "ParameterValue": ssh_from},
        ],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    outputs = stacks.describe_stacks(StackName="sparsweep")["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def prepared_config(account: dict[str, str]) -> dict[str, Any]:
    """Return ``cluster.yaml`` with the user's values inserted, as ``ray up`` prepares the file."""
    text = (ROOT / "cluster.yaml").read_text()
    image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
    for placeholder, value in {"ami-" + 17 * "0": image, "sg-" + 17 * "0": account["SecurityGroup"]}.items():
        assert text.count(placeholder) == 1
        text = text.replace(placeholder, value)
    return bootstrap_aws(prepare_config(yaml.safe_load(text)))


def launch(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """Start the instance of a node type through Ray. Return its description by AWS."""
    nodes = _get_node_provider(config["provider"], config["cluster_name"])
    tags = {
        TAG_RAY_NODE_KIND: "head" if kind == "head" else "worker",
        TAG_RAY_USER_NODE_TYPE: kind,
        TAG_RAY_NODE_NAME: kind,
        TAG_RAY_NODE_STATUS: "uninitialized",
    }
    node_config = dict(config["available_node_types"][kind]["node_config"])
    if kind == "head":
        node_config |= config.get("head_node", {})
    (started,) = nodes.create_node(node_config, tags, 1)
    return boto3.client("ec2").describe_instances(InstanceIds=[started])["Reservations"][0]["Instances"][0]


def test_stack_opens_ssh_to_the_given_address_and_traffic_between_nodes(account: dict[str, str]) -> None:
    group = account["SecurityGroup"]
    rules = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    ssh, inside = sorted(rules, key=lambda rule: rule["IpProtocol"], reverse=True)
    assert [entry["CidrIp"] for entry in ssh["IpRanges"]] == [SSH_FROM]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert inside["IpRanges"] == [] and [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group]
    assert account["Storage"].startswith("s3://")


def test_workers_can_access_only_the_bucket(account: dict[str, str]) -> None:
    iam = boto3.client("iam")
    allowed = {}
    for name in ("sparsweep-head", "sparsweep-worker"):
        (role,) = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        policies = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
        statements = [statement for policy in policies for statement in statements_of(policy["PolicyArn"])]
        allowed[name] = {action for statement in statements for action in statement["Action"]}
        bucket = account["Storage"].removeprefix("s3://")
        storage_rules = [rule for rule in statements if rule["Action"][0].startswith("s3:")]
        assert {rule["Resource"] for rule in storage_rules} == {f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"}
    assert all(action.startswith("s3:") for action in allowed["sparsweep-worker"])
    assert {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "iam:PassRole"} < allowed["sparsweep-head"]


def allows(statements: list[dict[str, Any]], action: str, resource: str, **context: str) -> bool:
    """Return whether a statement allows ``action`` on ``resource``. ``context`` holds IAM condition keys."""

    def applies(statement: dict[str, Any]) -> bool:
        resource_matches = fnmatch(resource, statement["Resource"]) if "Resource" in statement else None
        in_scope = not fnmatch(resource, statement["NotResource"]) if resource_matches is None else resource_matches
        conditions = statement.get("Condition", {}).get("StringEquals", {})
        action_matches = any(fnmatch(action, pattern) for pattern in statement["Action"])
        return action_matches and in_scope and all(context.get(key) == value for key, value in conditions.items())

    return any(applies(statement) for statement in statements)


def test_head_may_create_only_the_spot_service_role(account: dict[str, str]) -> None:
    """Without this role no worker starts, and only the autoscaler's log contains the reason."""
    iam = boto3.client("iam")
    (role,) = iam.get_instance_profile(InstanceProfileName="sparsweep-head")["InstanceProfile"]["Roles"]
    policies = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    statements = [statement for policy in policies for statement in statements_of(policy["PolicyArn"])]
    role_rules = [rule for rule in statements if "iam:CreateServiceLinkedRole" in rule["Action"]]
    assert [rule["Condition"] for rule in role_rules] == [
        {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}
    ]
    assert role_rules[0]["Resource"].endswith(":role/aws-service-role/spot.amazonaws.com/*")


def test_head_can_change_only_instances_of_its_cluster(account: dict[str, str]) -> None:
    iam = boto3.client("iam")
    (role,) = iam.get_instance_profile(InstanceProfileName="sparsweep-head")["InstanceProfile"]["Roles"]
    policies = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    rules = [statement for policy in policies for statement in statements_of(policy["PolicyArn"])]
    arn_prefix = f"arn:aws:ec2:us-east-1:{boto3.client('sts').get_caller_identity()['Account']}"
    instance, group = f"{arn_prefix}:instance/i-1", f"{arn_prefix}:security-group/sg-1"
    own_tag, other_tag = ({"ec2:ResourceTag/ray-cluster-name": name} for name in ("sparsweep", "production"))
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        assert allows(rules, action, instance, **own_tag)
        assert not allows(rules, action, instance, **other_tag)
        assert not allows(rules, action, instance, **{"ec2:ResourceTag/project": "sparsweep"})
        assert not allows(rules, action, instance) and not allows(rules, action, group)
    assert allows(rules, "ec2:CreateTags", instance, **{"ec2:CreateAction": "RunInstances"})
    assert not allows(rules, "ec2:CreateTags", instance, **{"ec2:CreateAction": "CreateSnapshot"})
    assert allows(rules, "ec2:RunInstances", instance, **{"aws:RequestTag/ray-cluster-name": "sparsweep"})
    assert not allows(rules, "ec2:RunInstances", instance, **{"aws:RequestTag/ray-cluster-name": "production"})
    assert not allows(rules, "ec2:RunInstances", instance)
    for used in (group, "arn:aws:ec2:us-east-1::image/ami-1", f"{arn_prefix}:volume/*"):
        assert allows(rules, "ec2:RunInstances", used)
    assert not any(allows(rules, f"ec2:{action}", instance) for action in ("StopInstances", "ModifyInstanceAttribute"))
    assert allows(rules, "ec2:DescribeInstances", "*")


def statements_of(policy: str) -> list[dict[str, Any]]:
    iam = boto3.client("iam")
    version = iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"]["Statement"]


def test_ray_starts_the_nodes_of_the_file(account: dict[str, str]) -> None:
    config = prepared_config(account)
    nodes_by_kind = {kind: launch(config, kind) for kind in ("head", "small_gpu", "large_gpu")}
    assert {kind: node["InstanceType"] for kind, node in nodes_by_kind.items()} == {
        "head": "m7i.xlarge",
        "small_gpu": "g5.2xlarge",
        "large_gpu": "g6e.4xlarge",
    }
    assert {kind: node.get("InstanceLifecycle", "on demand") for kind, node in nodes_by_kind.items()} == {
        "head": "on demand",
        "small_gpu": "spot",
        "large_gpu": "spot",
    }
    for kind, node in nodes_by_kind.items():
        assert [group["GroupId"] for group in node["SecurityGroups"]] == [account["SecurityGroup"]]
        profile = "sparsweep-head" if kind == "head" else "sparsweep-worker"
        assert node["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert {"Key": "project", "Value": "sparsweep"} in node["Tags"]
        assert {"Key": "ray-cluster-name", "Value": "sparsweep"} in node["Tags"]  # required by aws-account.yaml


def test_ray_adds_no_security_group(account: dict[str, str]) -> None:
    before = {group["GroupId"] for group in boto3.client("ec2").describe_security_groups()["SecurityGroups"]}
    prepared_config(account)
    assert {group["GroupId"] for group in boto3.client("ec2").describe_security_groups()["SecurityGroups"]} == before


def test_nodes_are_terminated_not_stopped(account: dict[str, str]) -> None:
    config = prepared_config(account)
    node = launch(config, "small_gpu")["InstanceId"]
    _get_node_provider(config["provider"], config["cluster_name"]).terminate_node(node)
    state = boto3.client("ec2").describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"][0]["State"]
    assert state["Name"] == "terminated"
