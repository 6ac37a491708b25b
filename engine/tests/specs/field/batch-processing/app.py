import json

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def process(record):
    print(record.raw_event["eventName"], json.dumps(record.raw_event["dynamodb"]["Keys"]))
    image = record.dynamodb.new_image or {}
    if "message" in image:
        print("message:", json.loads(image["message"]))


def lambda_handler(event, context):
    # Reports the records that failed, so that Lambda retries only those.
    return process_partial_response(event=event, record_handler=process, processor=processor, context=context)
