#!/usr/bin/env bash
# Fetches a whole Apache Kafka broker, as jars, into DIR/libs (43 MB). Run again it does nothing, unless this script
# has changed.
#
# Usage: kafka.sh DIR
set -euo pipefail

version=4.1.1

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

# need COMMAND PACKAGE: makes sure that COMMAND is there, if need be by apt.
need() {
    local command=$1 package=$2
    command -v "$command" >/dev/null && return
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "kafka: installing $package" >&2
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "$package"; } >"$dir/apt.log" 2>&1 || true
        hash -r
        command -v "$command" >/dev/null && return
        echo "kafka: apt could not install $package; it said:" >&2
        tail -n 5 "$dir/apt.log" >&2
    fi
    echo "kafka: the tests against a Kafka broker need \`$command\`, which is not here." >&2
    echo "       Get it with: sudo apt-get install $package (or your system's like)" >&2
    exit 1
}

need java openjdk-17-jre-headless
# For the keys of clients that a broker asks for.
need openssl openssl
# For a broker with another clock.
need faketime faketime

stamp=$(sha256sum <"${BASH_SOURCE[0]}" | cut -d' ' -f1)
[[ -f $dir/stamp && $(<"$dir/stamp") == "$stamp" ]] && exit 0

need mvn maven
echo "kafka: $dir/libs: Apache Kafka $version" >&2
rm -rf "$dir/stamp" "$dir/libs"
cat >"$dir/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.postrider</groupId>
  <artifactId>broker-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <!-- For the console producer; what else it could do, Kafka Connect above all, is left out. -->
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$version</version>
      <exclusions>
        <exclusion>
          <groupId>*</groupId>
          <artifactId>*</artifactId>
        </exclusion>
      </exclusions>
    </dependency>
    <!-- So that it says when it has started, and what is wrong. -->
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
POM
if ! mvn -q -B -f "$dir/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$dir/libs" -DincludeScope=runtime >"$dir/mvn.log" 2>&1; then
    echo "kafka: Maven could not fetch the broker; it said:" >&2
    tail -n 20 "$dir/mvn.log" >&2
    exit 1
fi

# Written last: a fetch that was cut off is begun again.
echo "$stamp" >"$dir/stamp"
