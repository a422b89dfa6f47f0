"""A Kafka broker that wants a password, a certificate over TLS, or both, and what a Secret must hold to be let in."""

import os
import pathlib
import subprocess
import time

import chart
from processes import free_ports

TEMPLATES = chart.ROOT / "crates" / "testkit" / "kafka"
USER, PASSWORD, KEY_PASSWORD = "anna", "correct-horse-battery", "staple-horse-key"
DEADLINE = 120
LOGINS = {
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "PLAIN": f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
}


class SecuredBroker:
    """One node with one way in, `address`: by this protocol and mechanism, of TLS for those with a certificate of its
    authority."""

    def __init__(self, folder, protocol, mechanism):
        self.folder = pathlib.Path(folder)
        self.protocol, self.mechanism = protocol.upper(), mechanism.upper()
        self.authority()
        self.signed("broker", "subjectAltName=IP:127.0.0.1")
        self.signed("client", "extendedKeyUsage=clientAuth")
        self.openssl("pkcs8", "-topk8", "-in", "client.key", "-passout", f"pass:{KEY_PASSWORD}", "-out", "client.sealed")
        port, inner, controller = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        (self.folder / "server.properties").write_text(self.properties(port, inner, controller))
        self.java = [
            "java", "-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={TEMPLATES}/log4j2.properties",
            "-cp", os.environ["POSTRIDER_TEST_KAFKA_JARS"] + "/*",
        ]
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        storage = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", "server.properties"]
        self.run(*self.java, *storage, "--add-scram", scram)
        self.process = self.start()

    def run(self, *command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout + done.stderr)

    def openssl(self, *arguments):
        self.run("openssl", *arguments)

    def authority(self):
        made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=authority"]
        self.openssl("req", "-x509", *made, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")

    def signed(self, name, extension):
        made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
        self.openssl("req", "-new", *made, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(extension)
        by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
        self.openssl("x509", "-req", "-in", f"{name}.csr", *by, "-out", f"{name}.pem")

    def properties(self, port, inner, controller):
        (self.folder / "broker.both").write_text((self.folder / "broker.key").read_text() + (self.folder / "broker.pem").read_text())
        text = (TEMPLATES / "server.properties").read_text()
        words = {
            "NODE": 1, "PORT": inner, "CONTROLLER": controller, "DATA": self.folder / "data",
            "VOTERS": f"1@127.0.0.1:{controller}", "REPLICATION": 1, "MIN_ISR": 1,
        }
        for word, meaning in words.items():
            text = text.replace(f"@{word}@", str(meaning))
        way_in = "listener.name.secured."
        sasl = [
            f"sasl.enabled.mechanisms={self.mechanism}",
            f"{way_in}{self.mechanism.lower()}.sasl.jaas.config={LOGINS[self.mechanism]}",
        ] if "SASL" in self.protocol else []
        tls = [
            f"{way_in}ssl.client.auth=required",
            f"{way_in}ssl.keystore.type=PEM",
            f"{way_in}ssl.keystore.location={self.folder}/broker.both",
            f"{way_in}ssl.truststore.type=PEM",
            f"{way_in}ssl.truststore.location={self.folder}/ca.pem",
        ] if "SSL" in self.protocol else []
        # Of a property that is there twice the later one counts.
        return text + "\n".join([
            "",
            f"listeners=PLAINTEXT://127.0.0.1:{inner},SECURED://{self.address},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{inner},SECURED://{self.address}",
            f"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:{self.protocol}",
            "broker.session.timeout.ms=30000",
            *sasl,
            *tls,
            "",
        ])

    def start(self):
        log = self.folder / "broker.log"
        with log.open("wb") as said:
            process = subprocess.Popen([*self.java, "kafka.Kafka", "server.properties"], cwd=self.folder, stdout=said, stderr=said)
        until = time.monotonic() + DEADLINE
        while "Kafka Server started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                process.wait()
                raise AssertionError(f"the broker did not start: {log.read_text()[-4000:]}")
            time.sleep(0.2)
        return process

    def secrets(self, sealed):
        """Those that value sets name, under the keys that these name; the key encrypted, as people keep it, or not."""
        def text(name):
            return (self.folder / name).read_text()
        key = text("client.sealed" if sealed else "client.key")
        return {
            "kafka-user": {"username": USER, "password": PASSWORD, "user": USER, "pass": PASSWORD},
            "kafka-tls": {"ca.crt": text("ca.pem"), "tls.crt": text("client.pem"), "tls.key": key, "password": KEY_PASSWORD},
        }

    def close(self):
        self.process.kill()
        self.process.wait()
