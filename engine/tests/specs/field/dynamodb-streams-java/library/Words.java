package library;

/** What the handler needs of another jar. */
public class Words {
    public static String greeting() {
        return "received";
    }
}
