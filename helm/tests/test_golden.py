"""The main value sets, rendered as they were when somebody last looked at them. UPDATE=1 writes them anew."""

import os
import re
import unittest

import chart

GOLDEN = chart.ROOT / "helm" / "tests" / "golden"
SETS = ("minimal", "full", "single")
# Changes with each dashboard and alert; that they are made is tested elsewhere.
COPIED = re.compile(r"# Source: postrider/templates/monitoring\.yaml\napiVersion: \S+\nkind: (ConfigMap|PrometheusRule)\n")


class Golden(unittest.TestCase):
    maxDiff = None

    def test_the_main_sets_are_rendered_as_they_were(self):
        for name in SETS:
            with self.subTest(name):
                values = str(chart.ROOT / "helm" / "tests" / "values" / f"{name}.yaml")
                text = chart.helm("template", chart.RELEASE, str(chart.CHART), "-n", chart.NAMESPACE, "-f", values)
                documents = re.split(r"^---\n", text, flags=re.M)
                text = "---\n".join(one for one in documents if not COPIED.match(one))
                path = GOLDEN / f"{name}.yaml"
                if os.environ.get("UPDATE") == "1":
                    path.write_text(text)
                self.assertTrue(path.exists(), f"{path} is missing: UPDATE=1 make helm-test writes it")
                self.assertEqual(path.read_text(), text, f"{path.name} differs: if it should, UPDATE=1 make helm-test")


if __name__ == "__main__":
    unittest.main()
