package example;

import java.util.List;
import java.util.Map;
import library.Words;

/** Logs each record of a table's stream. */
public class OrderHandler {
    public String handleRequest(Map<String, Object> event) {
        List<?> records = (List<?>) event.get("Records");
        for (Object each : records) {
            System.out.println(Words.greeting() + " " + ((Map<?, ?>) each).get("eventName"));
        }
        return records.size() + " records";
    }
}
