def handler(event, context):
    keys = [record["dynamodb"]["Keys"]["TestTableHashKey"]["S"] for record in event["Records"]]
    print("keys:", *keys)
