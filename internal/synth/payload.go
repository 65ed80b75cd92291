package synth

import (
	"bytes"
	"encoding/base64"
	"math"
	"math/rand/v2"

	"github.com/klauspost/compress/zlib"
)

// payload is an event as Sentry stores it.
type payload struct {
	inner  []byte // JSON lines, or a pickle
	stream []byte // zlib(inner)
	data   string // base64(stream), canonical
}

// payloads makes payloads, each from a generator of its own so that it depends
// only on the seed and its key, and keeps those that rows share.
type payloads struct {
	seed     uint64
	distinct int
	world    *world
	kept     map[payloadKey]payload
	zlib     *zlib.Writer
	out      bytes.Buffer
}

type payloadKey struct {
	shape  Kind
	number int
}

func newPayloads(seed uint64, distinct int) *payloads {
	return &payloads{
		seed:     seed,
		distinct: distinct,
		world:    newWorld(rand.New(rand.NewPCG(seed, 1))),
		kept:     make(map[payloadKey]payload),
		zlib:     zlib.NewWriter(nil),
	}
}

// get returns the payload of row i, whose place in the distribution of sizes
// is rank, in [0,1).
func (p *payloads) get(shape Kind, i int, rank float64) payload {
	if p.distinct == 0 {
		return p.make(payloadKey{shape, i}, rank)
	}
	key := payloadKey{shape, int(rank / hugeRank * float64(p.distinct))}
	if rank >= hugeRank {
		key.number = p.distinct
	}
	if found, ok := p.kept[key]; ok {
		return found
	}
	// The middle of the ranks that share the payload, so that sharing leaves the
	// distribution as it is.
	if rank < hugeRank {
		rank = (float64(key.number) + 0.5) / float64(p.distinct) * hugeRank
	}
	made := p.make(key, rank)
	p.kept[key] = made
	return made
}

func (p *payloads) make(key payloadKey, rank float64) payload {
	rng := rand.New(rand.NewPCG(p.seed, uint64(key.shape)<<56|uint64(key.number)+2))
	inner := newEvent(rng, p.world).write(key.shape, innerBytes(key.shape, rank))
	stream := p.compress(inner)
	return payload{inner, stream, base64.StdEncoding.EncodeToString(stream)}
}

// compress returns the zlib stream of inner at the level that Sentry uses, the
// default. Writing to a bytes.Buffer cannot fail.
func (p *payloads) compress(inner []byte) []byte {
	p.out.Reset()
	p.zlib.Reset(&p.out)
	_, _ = p.zlib.Write(inner)
	_ = p.zlib.Close()
	return bytes.Clone(p.out.Bytes())
}

// hugeRank is where the few events begin whose data is over 1 MB.
const hugeRank = 1 - 1.0/5000

// innerBytes is the size to aim at for the inner bytes of the given rank. The
// table gives the data the sizes seen in production: half under 6 kB, a tenth
// over 20 kB, 1 to 2 % over 32,766 bytes, where doc values end.
func innerBytes(shape Kind, rank float64) int {
	if rank >= hugeRank {
		return 3 << 20
	}
	if shape == Native { // its images alone take more than most events
		rank = 0.8 + 0.2*rank
	}
	table := [...]struct{ rank, bytes float64 }{
		{0, 2e3}, {0.25, 5.5e3}, {0.5, 11e3}, {0.75, 27e3}, {0.9, 61e3}, {0.985, 92e3}, {1, 250e3},
	}
	i := 1
	for rank >= table[i].rank {
		i++
	}
	low, high := table[i-1], table[i]
	share := (rank - low.rank) / (high.rank - low.rank)
	return int(low.bytes * math.Pow(high.bytes/low.bytes, share))
}
