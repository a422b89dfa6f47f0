"""A Kafka broker that wants a password and a certificate, over TLS, and what a Secret must hold to be let in."""

import os
import pathlib
import subprocess
import time

import chart
from processes import free_ports

TEMPLATES = chart.ROOT / "crates" / "testkit" / "kafka"
USER, PASSWORD, KEY_PASSWORD = "anna", "correct-horse-battery", "staple-horse-key"
DEADLINE = 120


class SecuredBroker:
    """One node with one way in, `address`: SCRAM-SHA-512 over TLS, for those with a certificate of its authority."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.authority()
        self.signed("broker", "subjectAltName=IP:127.0.0.1")
        self.signed("client", "extendedKeyUsage=clientAuth")
        # As people keep it: encrypted.
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
        # Of a property that is there twice the later one counts.
        return text + "\n".join([
            "",
            f"listeners=PLAINTEXT://127.0.0.1:{inner},SECURED://{self.address},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{inner},SECURED://{self.address}",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL",
            "broker.session.timeout.ms=30000",
            "sasl.enabled.mechanisms=SCRAM-SHA-512",
            f"{way_in}scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
            f"{way_in}ssl.client.auth=required",
            f"{way_in}ssl.keystore.type=PEM",
            f"{way_in}ssl.keystore.location={self.folder}/broker.both",
            f"{way_in}ssl.truststore.type=PEM",
            f"{way_in}ssl.truststore.location={self.folder}/ca.pem",
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

    def secrets(self):
        """Those of the value set `full`."""
        def text(name):
            return (self.folder / name).read_text()
        return {
            "kafka-user": {"username": USER, "password": PASSWORD},
            "kafka-tls": {"ca.crt": text("ca.pem"), "tls.crt": text("client.pem"), "tls.key": text("client.sealed"), "password": KEY_PASSWORD},
        }

    def close(self):
        self.process.kill()
        self.process.wait()
