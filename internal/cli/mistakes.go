package cli

import (
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// flagsFor says with which flags a mistake about the target is mended.
func flagsFor(m cluster.Mistake) string {
	const urls = "--target wants URLs such as https://host:9200, separated by commas"
	return map[cluster.Mistake]string{
		cluster.NoURL:         urls,
		cluster.UnreadableURL: urls + "; a password belongs in --target-password-file",
		cluster.NoAnswer:      "check --target, and that the cluster can be reached from this machine",
		cluster.TakesPath:     "OpenSearch takes the path in --target for an index: leave it out, or give the one under which a proxy offers OpenSearch",
		cluster.SpeaksPlain:   "the server does not speak TLS there: try http:// in --target",
		cluster.WantsTLS:      "the server closed the connection: if it wants TLS, write https:// in --target",
		cluster.Untrusted:     "give the cluster's certificate authority with --target-ca, or pin its certificate with --target-fingerprint",
		cluster.OtherPrint:    "if the certificate was renewed, give the new one with --target-fingerprint; else somebody stands in between",
		cluster.NoCA:          "--target-ca wants a file that begins with -----BEGIN CERTIFICATE-----",
		cluster.NoKeyPair:     "--target-cert and --target-key want PEM files that belong together, the key without a passphrase",
		cluster.WantsOurs:     "the server does not take this client's certificate, or wants one: --target-cert and --target-key",
		cluster.NotOpenSearch: "--target must name the OpenSearch cluster that Sentry's node storage is configured with",
		cluster.OtherCluster:  "make --target lead to the one cluster that Sentry reads from, whichever of its nodes or proxies answers; then run the same command again",
		cluster.Credentials:   "check --target-username and --target-password-file",
		cluster.Signature:     "Amazon refuses the signature: look at this machine's clock, at --target-aws-region, and whether the credentials are still valid and may es:ESHttp* on the domain",
		cluster.NotItself:     "ask the same URL with curl from this machine; --target must lead to OpenSearch itself, with the path under which a proxy offers it",
		target.NoDate:         "nodes go to one index a day: write it as the backend's `index` option, for example sentry-{date}",
		target.NotBehind:      "check --alias, --template, --index and SENTRY_NODESTORE_OPENSEARCH_INDEX_PATTERN against Sentry's configuration",
		target.NotConcrete:    "daily indices must be concrete indices: check --index against Sentry's configuration",
		target.OtherOrigin: "documents do not say which region they are from, so one region goes to one alias: give this source an alias and an index prefix of its own, " +
			"or a cluster of its own. If it is the same data under another name or server, run migrate --source-moved with the --checkpoint that they were filled with, " +
			"or remove the indices that were filled before",
	}[m]
}
