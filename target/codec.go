package target

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
)

// Shape is what the indices of past days get in place of what the template says
// for Sentry's own. A zero value is the template's.
type Shape struct {
	Codec  string
	Shards int
}

// settings are those that make an index of the shape.
func (s Shape) settings() map[string]string {
	settings := make(map[string]string)
	if s.Codec != "" {
		settings["index.codec"] = s.Codec
	}
	if s.Shards > 0 {
		settings["index.number_of_shards"] = fmt.Sprint(s.Shards)
	}
	return settings
}

// codecPlugin has the codecs that begin with zstd.
const codecPlugin = "opensearch-custom-codecs"

// CheckCodec makes sure that every data node can write and read a codec. Where a
// cluster does not show its nodes' plugins, the word of the node that answers has
// to do.
func (t *templates) CheckCodec(ctx context.Context, codec string) error {
	const name = "nodestore-migrate-codec"
	template := map[string]any{
		"index_patterns": []string{name}, "priority": math.MaxInt32,
		"template": map[string]any{"settings": map[string]any{"index.codec": codec}},
	}
	if _, err := t.simulate(ctx, name, template); err != nil {
		return fmt.Errorf("check codec %s: %w", codec, err)
	}
	if !strings.HasPrefix(codec, "zstd") {
		return nil
	}
	var answer struct {
		Nodes map[string]struct {
			Name    string
			Plugins []struct{ Name string }
		}
	}
	err := t.Ask(ctx, http.MethodGet, "/_nodes/data:true/plugins?filter_path=nodes.*.name,nodes.*.plugins.name", nil, &answer)
	if cluster.IsForbidden(err) { // it is seen when the index is made
		return nil
	}
	if err != nil {
		return fmt.Errorf("check codec %s: %w", codec, err)
	}
	for _, n := range answer.Nodes {
		if !slices.ContainsFunc(n.Plugins, func(p struct{ Name string }) bool { return p.Name == codecPlugin }) {
			return hint.Add(fmt.Errorf("check codec %s: node %s lacks the plugin %s", codec, n.Name, codecPlugin),
				"install it on every data node, or take a codec that every node has: best_compression or default")
		}
	}
	return nil
}
