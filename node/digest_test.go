package node_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// TestDigest has the figures of the script in docs/verify.md, computed by Python.
func TestDigest(t *testing.T) {
	t.Parallel()
	var d node.Digest
	for i := range 3 {
		d.Add(node.DigestOf(fmt.Appendf(nil, "id-%d", i), int64(1_700_000_000_000+i), fmt.Appendf(nil, "eJx%dAAA", i)))
	}
	const want = `{"nodes":3,"bytes":21,"timestamp_sum_milliseconds":"5100000000003","ids":"fe897ff7d0164a98567fafec42d0e4ad","payloads":"d3e30e3316c721304c1c6dc3dde26167"}`
	text, err := json.Marshal(d)
	if err != nil || string(text) != want {
		t.Errorf("%s, %v\nwant %s", text, err, want)
	}
	var back node.Digest
	if err := json.Unmarshal(text, &back); err != nil || back != d {
		t.Errorf("%+v is read as %+v, %v", d, back, err)
	}
	for _, text := range []string{`"00"`, `"zz"`, `"000000000000000000000000000000000"`} {
		if err := json.Unmarshal([]byte(text), new(node.Sum)); err == nil {
			t.Errorf("%s is read as a digest", text)
		}
	}
}

func TestDigestHasNoOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	digest := func(order []int, change int) (d node.Digest) {
		for _, i := range order {
			text := fmt.Appendf(nil, "payload %d", i)
			if i == change {
				text[0]++
			}
			d.Add(node.DigestOf(fmt.Appendf(nil, "%032x", i), int64(i), text))
		}
		return d
	}
	first := digest(rng.Perm(1000), -1)
	if again := digest(rng.Perm(1000), -1); again != first {
		t.Errorf("%+v and %+v", first, again)
	}
	if other := digest(rng.Perm(1000), 500); other.IDs != first.IDs || other.Payloads == first.Payloads {
		t.Errorf("a changed payload: %+v and %+v", first, other)
	}
}
