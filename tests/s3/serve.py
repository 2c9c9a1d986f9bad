"""An S3 server (moto) on loopback whose buckets lock what is put into them: serve.py BUCKET

Says where it is as one line of JSON, then takes orders, one a line, and answers each with a line of JSON:

  open NAME      another bucket, with versions and without a lock
  lock NAME      another bucket that locks
  plain NAME     another bucket, with neither
  weaken         what is put from now on is locked for a day only
  attack PREFIX  whoever holds the keys tries to delete every version
  hide KEY       a newer version is put over an object
  conceal PREFIX whoever holds the keys puts delete markers in front of everything
  versions KEY   how many versions there are
  count PREFIX   how many objects there are

PREFIX is in the first bucket, or in another as BUCKET:PREFIX.

From the first line on every request must be signed (Signature Version 4) by the one user there is.
"""

import json
import sys

import boto3
import requests
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

RETENTION_DAYS = 2200
ATTACKS = (
    lambda s3, at: s3.delete_object(**at),
    lambda s3, at: s3.delete_object(**at, BypassGovernanceRetention=True),
)


def client(url, service, key):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def lock(s3, bucket):
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": RETENTION_DAYS}}
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )


def weaken(bucket):
    # S3 takes another default retention at any time, moto only while the bucket is empty.
    for account in s3_backends.values():
        for backend in account.values():
            if bucket in backend.buckets:
                backend.buckets[bucket].default_lock_days = 1


def open_locked(s3, bucket):
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock(s3, bucket)


def prepare(url, bucket):
    nobody = {"AccessKeyId": "setup", "SecretAccessKey": "setup"}
    s3, iam = client(url, "s3", nobody), client(url, "iam", nobody)
    open_locked(s3, bucket)
    iam.create_user(UserName="medmesh")
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="medmesh", PolicyName="all", PolicyDocument=json.dumps(allow))
    key = iam.create_access_key(UserName="medmesh")["AccessKey"]
    # From here on signatures count.
    requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    return key


def attack(s3, bucket, prefix):
    tried = refused = 0
    for version in s3.list_object_versions(Bucket=bucket, Prefix=prefix).get("Versions", []):
        at = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        for way in ATTACKS:
            tried += 1
            try:
                way(s3, at)
            except ClientError as error:
                refused += error.response["Error"]["Code"] == "AccessDenied"
    return {"tried": tried, "refused": refused}


def versions(s3, bucket, key):
    found = s3.list_object_versions(Bucket=bucket, Prefix=key).get("Versions", [])
    return {"versions": sum(version["Key"] == key for version in found)}


def conceal(s3, bucket, prefix):
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    for at in found:
        s3.delete_object(Bucket=bucket, Key=at["Key"])
    return {"concealed": len(found)}


def obey(s3, bucket, order, argument):
    if ":" in argument:
        bucket, _, argument = argument.partition(":")
    if order == "lock":
        open_locked(s3, argument)
    elif order == "plain":
        s3.create_bucket(Bucket=argument)
    elif order == "conceal":
        return conceal(s3, bucket, argument)
    elif order == "count":
        return {"objects": s3.list_objects_v2(Bucket=bucket, Prefix=argument)["KeyCount"]}
    elif order == "open":
        s3.create_bucket(Bucket=argument)
        s3.put_bucket_versioning(Bucket=argument, VersioningConfiguration={"Status": "Enabled"})
    elif order == "weaken":
        weaken(bucket)
    elif order == "attack":
        return attack(s3, bucket, argument)
    elif order == "hide":
        s3.put_object(Bucket=bucket, Key=argument, Body=b"nothing to see")
    elif order == "versions":
        return versions(s3, bucket, argument)
    else:
        raise SystemExit(f"unknown order {order}")
    return {}


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url, bucket = f"http://{host}:{port}", sys.argv[1]
    key = prepare(url, bucket)
    s3 = client(url, "s3", key)
    said = {"url": url, "key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        order, _, argument = line.strip().partition(" ")
        print(json.dumps(obey(s3, bucket, order, argument)), flush=True)
    server.stop()


main()
