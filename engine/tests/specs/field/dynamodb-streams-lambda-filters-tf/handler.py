def report(what, event):
    for record in event["Records"]:
        print(what, record["eventName"], record["dynamodb"])


def bachelors(event, context):
    report("bachelor's request", event)


def masters(event, context):
    report("master's request", event)


def changed(event, context):
    report("changed request", event)


def removed(event, context):
    report("withdrawn request", event)
