import os

import botocore.session

scheduler = botocore.session.get_session().create_client("scheduler")


def schedule(item):
    state = "ENABLED" if item.get("enabled", {}).get("BOOL", True) else "DISABLED"
    target = {"Arn": os.environ["TARGET_LAMBDA_ARN"], "RoleArn": os.environ["SCHEDULER_ROLE_ARN"]}
    target["Input"] = item.get("payload", {}).get("S", "{}")
    return {
        "ScheduleExpression": item["scheduleExpression"]["S"],
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
        "State": state,
    }


def lambda_handler(event, context):
    for record in event["Records"]:
        change = record["dynamodb"]
        name = change["Keys"]["scheduleId"]["S"]
        if record["eventName"] == "INSERT":
            scheduler.create_schedule(Name=name, **schedule(change["NewImage"]))
        elif record["eventName"] == "MODIFY":
            scheduler.update_schedule(Name=name, **schedule(change["NewImage"]))
        else:
            scheduler.delete_schedule(Name=name)
        kept = scheduler.list_schedules(NamePrefix=name)["Schedules"]
        print(record["eventName"], name, "schedules:", len(kept))
