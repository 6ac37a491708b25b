def handler(event, context):
    for record in event["Records"]:
        print("file to delete:", record["dynamodb"]["OldImage"].get("FileLocation"))
