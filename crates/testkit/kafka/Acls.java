import java.util.ArrayList;
import java.util.Map;
import java.util.Scanner;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** Grants and takes back what the lines of its input say: `+|- USER OPERATION TOPIC|GROUP NAME[*]`. */
public class Acls {
    public static void main(String[] arguments) throws Exception {
        var granted = new ArrayList<AclBinding>();
        var taken = new ArrayList<org.apache.kafka.common.acl.AclBindingFilter>();
        try (var lines = new Scanner(System.in)) {
            while (lines.hasNext()) {
                boolean grants = lines.next().equals("+");
                var entry = new AccessControlEntry(
                        "User:" + lines.next(), "*", AclOperation.valueOf(lines.next()), AclPermissionType.ALLOW);
                var type = ResourceType.valueOf(lines.next());
                var name = lines.next();
                var begins = name.endsWith("*");
                var pattern = new ResourcePattern(
                        type,
                        begins ? name.substring(0, name.length() - 1) : name,
                        begins ? PatternType.PREFIXED : PatternType.LITERAL);
                var binding = new AclBinding(pattern, entry);
                if (grants) {
                    granted.add(binding);
                } else {
                    taken.add(binding.toFilter());
                }
            }
        }
        try (var admin = Admin.create(Map.<String, Object>of("bootstrap.servers", arguments[0]))) {
            admin.createAcls(granted).all().get();
            admin.deleteAcls(taken).all().get();
        }
    }
}
