// The load's Java service: collections, strings and a compiler at work until the seconds are over.
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class Mixed {
    static long sort(long seed) {
        List<Long> numbers = new ArrayList<>();
        for (int index = 0; index < 2000; index++) {
            seed = seed * 6364136223846793005L + 1442695040888963407L;
            numbers.add(seed >>> 20);
        }
        Collections.sort(numbers);
        return numbers.get(7);
    }

    static long count(long seed) {
        Map<String, Long> counts = new HashMap<>();
        for (int index = 0; index < 2000; index++) counts.merge("key" + (seed + index) % 211, 1L, Long::sum);
        return counts.values().stream().mapToLong(Long::longValue).max().orElse(0);
    }

    public static void main(String[] words) {
        long end = System.currentTimeMillis() + Long.parseLong(words[0]) * 1000, seed = 23;
        while (System.currentTimeMillis() < end) seed = sort(seed) + count(seed);
        System.out.println(seed);
    }
}
