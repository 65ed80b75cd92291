package testbed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// config is the node's opensearch.yml. Port 0 lets the kernel choose, so no two
// nodes can want the same; node.portsfile tells which it chose.
func (n *OpenSearch) config(o OpenSearchOptions, dir string) string {
	name := filepath.Base(dir)
	settings := map[string]string{
		"cluster.name":   n.cluster,
		"node.name":      name,
		"path.data":      strconv.Quote(filepath.Join(dir, "data")),
		"path.logs":      strconv.Quote(filepath.Join(dir, "logs")),
		"network.host":   "127.0.0.1",
		"http.port":      "0",
		"transport.port": "0",
		"node.portsfile": "true",
		// A nearly full disk of the machine must not block the indices.
		"cluster.routing.allocation.disk.threshold_enabled": "false",
	}
	if o.Join == nil {
		settings["discovery.seed_hosts"] = "[]"
		settings["cluster.initial_cluster_manager_nodes"] = "[" + name + "]"
	} else {
		settings["discovery.seed_hosts"] = "[" + strconv.Quote(o.Join.transport) + "]"
		settings["node.roles"] = "[data, ingest]" // no vote: the first node can continue without it
	}
	maps.Copy(settings, o.Settings)
	var config strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&config, "%s: %s\n", name, settings[name])
	}
	return config.String()
}

// loggingConfig sends the node's whole log to its output, the server's log.
const loggingConfig = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %marker%m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
`

func writeConfig(dir, settings string) error {
	for name, content := range map[string]string{"opensearch.yml": settings, "log4j2.properties": loggingConfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("write node settings: %w", err)
		}
	}
	return nil
}

// variant is a set of plugins that a distribution carries.
type variant string

const (
	plain   variant = ""
	secured variant = "-secure"
)

func openSearchDistribution(version string, v variant) distribution {
	return distribution{"opensearch-" + version + string(v), func(ctx context.Context, dir string) error {
		server := artifact{"org.opensearch.distribution.integ-test-zip", "opensearch", version, "zip"}
		if err := fetchAndUnzip(ctx, server, "opensearch-"+version, dir); err != nil {
			return err
		}
		if err := addReindex(ctx, version, dir); err != nil {
			return fmt.Errorf("add module reindex: %w", err)
		}
		if v == plain {
			return nil
		}
		security := artifact{"org.opensearch.plugin", "opensearch-security", version + ".0", "zip"}
		return fetchAndUnzip(ctx, security, ".", filepath.Join(dir, "plugins", "opensearch-security"))
	}}
}

func fetchAndUnzip(ctx context.Context, a artifact, folder, dir string) error {
	file, err := a.fetch(ctx, filepath.Join(dir, "fetched"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(file))
	return unzip(file, folder, dir)
}

// addReindex assembles the module reindex, which _delete_by_query needs: it is
// published as a jar, not as part of the minimal distribution.
func addReindex(ctx context.Context, version, dir string) error {
	module := filepath.Join(dir, "modules", "reindex")
	err := fetchWithDependencies(ctx, []artifact{
		{group: "org.opensearch.plugin", name: "reindex-client", version: version},
		{group: "org.opensearch.client", name: "opensearch-rest-client", version: version},
		{group: "org.opensearch", name: "opensearch-ssl-config", version: version},
	}, module)
	if err != nil {
		return err
	}
	if err := removeDuplicates(module, filepath.Join(dir, "lib")); err != nil {
		return err
	}
	class, java := "ReindexPlugin", 11
	if major(version) >= 3 {
		class, java = "ReindexModulePlugin", 21
	}
	descriptor := fmt.Sprintf("name=reindex\ndescription=reindex\nversion=%[1]s\nopensearch.version=%[1]s\n"+
		"classname=org.opensearch.index.reindex.%[2]s\njava.version=%[3]d\n"+
		"custom.foldername=\nextended.plugins=\nhas.native.controller=false\n", version, class, java)
	return os.WriteFile(filepath.Join(module, "plugin-descriptor.properties"), []byte(descriptor), 0o644)
}

// removeDuplicates removes the jars of a module that the server has already: it
// refuses to start with a class that is there twice.
func removeDuplicates(module, lib string) error {
	entries, err := os.ReadDir(module)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !exists(filepath.Join(lib, entry.Name())) {
			continue
		}
		if err := os.Remove(filepath.Join(module, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
