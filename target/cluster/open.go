package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// defaultPatience outlasts a restart of a node and a garbage collection storm,
// and still ends on the same evening.
const defaultPatience = 10 * time.Minute

// openPatience is for a cluster that was not reached yet: a wrong URL should be
// told soon.
const openPatience = 9 * time.Second

// supportedMajors are the major versions of OpenSearch on which the tool is tested.
var supportedMajors = []string{"2", "3"}

// ErrServerless refuses what has OpenSearch's name and not its APIs.
var ErrServerless = Mistaken(NotOpenSearch,
	errors.New("configure target: OpenSearch Serverless (aoss) is not supported: it has no cluster APIs, no refresh and no versions of documents"))

// ErrOtherCluster means that another cluster answers at the same URL now.
var ErrOtherCluster = errors.New("another cluster answers")

// Open reaches a cluster and makes sure that it is an OpenSearch whose version
// is known. It changes nothing.
func Open(ctx context.Context, config Config) (*Cluster, error) {
	config.Patience = cmp.Or(config.Patience, defaultPatience)
	if err := checkURLs(config.URLs); err != nil {
		return nil, err
	}
	c, err := connect(config)
	if err != nil {
		return nil, err
	}
	c.patience = min(config.Patience, openPatience)
	if err := c.identify(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.patience = config.Patience
	return c, nil
}

// checkURLs refuses what the library would quote in its error, password and
// all. Not even what is wrong may be told: a slash in a password makes the rest
// of it a port.
func checkURLs(urls []string) error {
	if len(urls) == 0 {
		return Mistaken(NoURL, errors.New("configure target: no URL is given"))
	}
	for i, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User == nil && strings.Contains(raw, "@") {
			return Mistaken(UnreadableURL, fmt.Errorf("configure target: URL %d cannot be read", i+1))
		}
		if strings.HasSuffix(u.Hostname(), ".aoss.amazonaws.com") {
			return ErrServerless
		}
	}
	return nil
}

// clusterInfo is the answer of the cluster's root.
type clusterInfo struct {
	ClusterUUID string `json:"cluster_uuid"`
	ClusterName string `json:"cluster_name"`
	Version     struct {
		Distribution, Number string
		Flavor               string `json:"build_flavor"` // of Elasticsearch
	}
}

// known reports whether a cluster that starts knows itself already.
func (i clusterInfo) known() bool { return i.ClusterUUID != "" && i.ClusterUUID != "_na_" }

// product names what is not OpenSearch. Elasticsearch names no distribution.
func (i clusterInfo) product() string {
	v := i.Version
	switch {
	case v.Flavor == "serverless":
		return "Elasticsearch Serverless"
	case v.Number == "":
		return "a server of another kind"
	}
	return cmp.Or(v.Distribution, "Elasticsearch") + " " + v.Number
}

func (c *Cluster) identify(ctx context.Context) error {
	shown := redact(c.config.URLs)
	var info clusterInfo
	if err := c.Ask(ctx, http.MethodGet, "/", nil, &info); err != nil {
		return unreachable(c.config.URLs[0], fmt.Errorf("reach %s%s: %w", shown, throughProxy(c.config.URLs[0]), err))
	}
	version := info.Version
	if version.Distribution == "" && strings.HasPrefix(version.Number, "7.10.") {
		// With compatibility.override_main_response_version OpenSearch gives itself
		// out as this Elasticsearch; its nodes tell.
		var answer struct {
			Nodes map[string]struct{ Version string }
		}
		if err := c.Ask(ctx, http.MethodGet, "/_nodes/_local?filter_path=nodes.*.version", nil, &answer); err != nil {
			return err
		}
		for _, n := range answer.Nodes {
			if n.Version != version.Number {
				version.Distribution, version.Number = "opensearch", n.Version
			}
		}
	}
	if version.Distribution != "opensearch" {
		return Mistaken(NotOpenSearch, fmt.Errorf("reach %s: it is %s, not OpenSearch", shown, info.product()))
	}
	major, _, _ := strings.Cut(version.Number, ".")
	if !slices.Contains(supportedMajors, major) {
		return hint.Add(fmt.Errorf("reach %s: OpenSearch %s is not supported", shown, version.Number),
			"supported are the major versions "+strings.Join(supportedMajors, " and "))
	}
	if !info.known() {
		return hint.Add(fmt.Errorf("reach %s: the cluster has no identity yet", shown),
			"it has not elected a cluster manager; try again when _cluster/health answers")
	}
	c.identity = Identity{ClusterUUID: info.ClusterUUID, ClusterName: info.ClusterName, Version: version.Number}
	return nil
}

// unreachable adds what to do when no connection came about at all.
func unreachable(url string, err error) error {
	switch proxy := throughProxy(url); {
	case mendable(err):
		return err
	case IsMissing(err):
		return Mistaken(TakesPath, err)
	case proxy != "":
		return hint.Add(err, "requests go"+proxy+": name the cluster's host in NO_PROXY if it needs none")
	case strings.HasPrefix(url, "http://") && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return Mistaken(WantsTLS, err)
	}
	return Mistaken(NoAnswer, err)
}

// Same makes sure that the cluster is still the one that was opened: what
// another one does not have is not gone.
func (c *Cluster) Same(ctx context.Context) error {
	return c.Retry(ctx, func(*Waits) (cause, err error) {
		var info clusterInfo
		err = c.Ask(ctx, http.MethodGet, "/", nil, &info)
		switch {
		case err != nil || info.ClusterUUID == c.identity.ClusterUUID:
			return nil, err
		case info.known():
			return nil, Mistaken(OtherCluster, fmt.Errorf("%w at %s: its identity is %q, it was %q",
				ErrOtherCluster, redact(c.config.URLs), info.ClusterUUID, c.identity.ClusterUUID))
		}
		return errors.New("the cluster has no identity yet: it has not elected a cluster manager"), nil
	})
}
