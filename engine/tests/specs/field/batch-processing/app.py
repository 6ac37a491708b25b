import json


def process(record):
    image = record["dynamodb"].get("NewImage", {})
    print(record["eventName"], json.dumps(record["dynamodb"]["Keys"]))
    if "message" in image:
        print("message:", json.loads(image["message"]["S"]))


def lambda_handler(event, context):
    for record in event["Records"]:
        try:
            process(record)
        except ValueError as error:
            print("failed:", error)
            # The records of a shard are in order, so Lambda retries from the first one that failed.
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}
