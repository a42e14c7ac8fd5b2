"""What every part that works on AWS takes."""

from repave_protos.daemon.settings import Settings


class AmazonOptions(Settings):
    """`region`: the cloud's; as `profile` or AWS_REGION say when it is empty. `role_arn`: a role to assume,
    also of another account. `endpoint`: of all services, for tests and private ones."""

    region: str = ""
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    endpoint: str = ""
