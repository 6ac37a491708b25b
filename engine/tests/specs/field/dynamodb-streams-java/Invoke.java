import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;

/** Calls a handler, given as `package.Class::method`, with an event of one record, as Lambda's Java runtime does. */
public class Invoke {
    public static void main(String[] args) throws Exception {
        String[] handler = args[0].split("::");
        Object function = Class.forName(handler[0]).getDeclaredConstructor().newInstance();
        Method method = function.getClass().getMethod(handler[1], Map.class);
        System.out.println(method.invoke(function, Map.of("Records", List.of(Map.of("eventName", "INSERT")))));
    }
}
