#!/usr/bin/env bash
# Apache Curator's recipes, in Java: CuratorRecipes.java, from its source, with Debian's packages.
#
# Usage: curator.sh HOSTS

set -euo pipefail

jars=$(printf '%s:' /usr/share/java/{curator-recipes,curator-framework,curator-client}.jar \
    /usr/share/java/{guava,zookeeper,slf4j-simple}.jar)
exec java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars" \
    "$(dirname "${BASH_SOURCE[0]}")/CuratorRecipes.java" "$1"
