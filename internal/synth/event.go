package synth

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// event writes one event's inner bytes: compact JSON with Sentry's keys,
// ASCII only, NaN and Infinity where Python would leave them.
type event struct {
	*rand.Rand
	world *world
	files []file // the few that one stack trace goes through
	paths []string
	sql   []string
	json  []byte
}

func newEvent(rng *rand.Rand, w *world) *event {
	e := &event{Rand: rng, world: w}
	first := rng.IntN(worldFiles - traceFiles)
	e.files = w.files[first : first+traceFiles]
	for range 8 {
		table := w.tables[rng.IntN(len(w.tables))]
		e.paths = append(e.paths, w.routes[rng.IntN(len(w.routes))])
		e.sql = append(e.sql, fmt.Sprintf(`SELECT \"%s\".\"id\", \"%s\".\"%s\" FROM \"%s\" WHERE \"%s\".\"%s_id\" = %%d LIMIT %d`,
			table, table, name(rng), table, table, word(rng), 1+rng.IntN(100)))
	}
	return e
}

const traceFiles = 6

// write returns the inner bytes of an event of the shape, of about the given
// size; small sizes come out larger than asked.
func (e *event) write(shape Kind, size int) []byte {
	switch shape {
	case Transaction:
		e.transaction(size)
	case Native:
		e.native(size)
	case Occurrence:
		e.occurrence(size)
	case WithUnprocessed:
		e.errorEvent(size / 2)
		e.add("\nunprocessed\n")
		e.errorEvent(size / 2)
	case Pickle:
		e.errorEvent(size)
		return pickle(e.Rand, e.json)
	default:
		e.errorEvent(size)
	}
	return e.json
}

func (e *event) errorEvent(size int) {
	start := len(e.json)
	e.head("error", "python")
	e.add(`"exception":{"values":[{"type":"%sError","value":"%s","module":"%s","mechanism":{"type":"logging","handled":true},"stacktrace":{`,
		title(word(e.Rand)), e.sentence(), e.file().module)
	e.list("frames", 100, start+size*6/10, e.frame)
	e.add(`}}]},"breadcrumbs":{`)
	e.list("values", 100, start+size*9/10, e.breadcrumb)
	e.add(`},"extra":{`)
	e.list("state", 1<<20, start+size, e.state)
	e.add(`},`)
	e.tail()
}

func (e *event) transaction(size int) {
	start := len(e.json)
	e.head("transaction", "javascript")
	e.add(`"start_timestamp":%d.%06d,"transaction_info":{"source":"route"},"measurements":{"lcp":{"value":%.3f,"unit":"millisecond"},"fcp":{"value":%s,"unit":"millisecond"}},`,
		e.second(), e.IntN(1e6), 4000*e.Float64(), e.number())
	e.list("spans", 1000, start+size, e.span)
	e.add(`,"extra":{`)
	e.list("state", 1<<20, start+size, e.state)
	e.add(`},`)
	e.tail()
}

func (e *event) native(size int) {
	start := len(e.json)
	e.head("error", "cocoa")
	e.add(`"exception":{"values":[{"type":"EXC_BAD_ACCESS","value":"%s","mechanism":{"type":"mach","handled":false,"meta":{"signal":{"number":11,"code":0,"name":"SIGSEGV"}}},"stacktrace":{`, e.sentence())
	e.list("frames", 60, start+size/4, e.nativeFrame)
	images := e.Perm(len(e.world.images))
	e.add(`}}]},"debug_meta":{"sdk_info":{"sdk_name":"iOS","version_major":17,"version_minor":4},`)
	e.list("images", len(images), max(start+size*8/10, len(e.json)+200*300), func(i int) {
		e.json = append(e.json, e.world.images[images[i]]...)
	})
	e.add(`},"threads":{`)
	e.list("values", 100, start+size, e.thread)
	e.add(`},"extra":{`)
	e.list("state", 1<<20, start+size, e.state)
	e.add(`},`)
	e.tail()
}

// occurrence writes an issue platform occurrence with its evidence.
func (e *event) occurrence(size int) {
	start := len(e.json)
	e.add(`{"id":"%s","project_id":%d,"event_id":"%s","fingerprint":["%s"],"issue_title":"N+1 Query","subtitle":"%s","resource_id":null,"type":1006,"level":"info","culprit":"%s","detection_time":%d.%06d,"assignee":null,"priority":50,`,
		e.hex(16), e.project(), e.hex(16), e.hex(20), e.query(), e.route(), e.second(), e.IntN(1e6))
	e.list("evidence_display", 3, start+size, func(int) {
		e.add(`{"name":"%s","value":"%s","important":false}`, title(word(e.Rand)), e.query())
	})
	e.add(`,"evidence_data":{"op":"db","num_repeating_spans":"%d",`, e.IntN(500))
	e.list("offender_spans", 1000, start+size, e.span)
	e.add(`,`)
	e.list("state", 1<<20, start+size, e.state)
	e.add(`}}`)
}

func (e *event) head(kind, platform string) {
	e.add(`{"event_id":"%s","project":%d,"platform":"%s","type":"%s","timestamp":%d.%06d,"received":%d.%06d,"version":"7","level":"error","logger":"%s","environment":"production","release":"%s@%d.%d.%d","dist":null,"transaction":"%s","message":"","culprit":"%s in %s",`,
		e.hex(16), e.project(), platform, kind, e.second(), e.IntN(1e6), e.second(), e.IntN(1e6), e.file().module,
		word(e.Rand), e.IntN(30), e.IntN(100), e.IntN(1000), e.route(), e.file().module, name(e.Rand))
	e.add(`"user":{"id":"%d","email":"%s.%s@example.com","ip_address":"10.%d.%d.%d","geo":{"country_code":"DE","city":"K\u00f6ln","region":"Germany"}},`,
		e.IntN(1e7), word(e.Rand), word(e.Rand), e.IntN(256), e.IntN(256), e.IntN(256))
	e.add(`"request":{"url":"https://www.example.com%s","method":"%s","query_string":[["%s","%d"]],"headers":[["Accept","*/*"],["Host","www.example.com"],["User-Agent","Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/%d.0.0.0 Safari/537.36"],["X-Request-Id","%s"]],"env":{"SERVER_NAME":"web-%s"}},`,
		e.route(), pick(e.Rand, "GET", "POST", "PUT", "DELETE"), word(e.Rand), e.IntN(1e5), 100+e.IntN(40), newUUID(e.Rand), e.hex(4))
}

func (e *event) tail() {
	e.add(`"contexts":{"trace":{"trace_id":"%s","span_id":"%s","op":"http.server","status":"internal_error","sampled":%t,"client_sample_rate":%s},"runtime":{"name":"CPython","version":"3.11.%d","type":"runtime"},"device":{"memory_size":%d,"free_memory":%d,"battery_level":%s,"type":"device"},"os":{"name":"Linux","version":"5.15.0-%d","type":"os"}},`,
		e.hex(16), e.hex(8), e.IntN(2) == 0, e.number(), e.IntN(12), e.IntN(1<<35), e.IntN(1<<34), e.number(), e.IntN(120))
	e.add(`"tags":[["environment","production"],["level","error"],["server_name","web-%s"],["%s","%s"],["runtime","CPython"],["transaction","%s"],["url","https://www.example.com%s"]],`,
		e.hex(4), word(e.Rand), word(e.Rand), e.route(), e.route())
	e.add(`"sdk":{"name":"sentry.python.django","version":"2.%d.0","integrations":["argv","atexit","celery","django","logging","stdlib","threading"],"packages":[{"name":"pypi:sentry-sdk","version":"2.%d.0"}]},`, e.IntN(30), e.IntN(30))
	e.add(`"hashes":["%s","%s"],"grouping_config":{"id":"newstyle:2023-01-11","enhancements":"%s"},"metadata":{"type":"Error","value":"%s"},"_metrics":{"bytes.ingested.event":%d,"bytes.stored.event":%d},"nodestore_insert":%d.%06d}`,
		e.hex(16), e.hex(16), e.hex(24), e.sentence(), len(e.json), len(e.json)*2, e.second(), e.IntN(1e6))
}

// add appends formatted JSON.
func (e *event) add(format string, args ...any) { e.json = fmt.Appendf(e.json, format, args...) }

// list appends "key":[…] with at least one item, until the JSON has grown to
// size or there are most items.
func (e *event) list(key string, most, size int, item func(i int)) {
	e.add(`"%s":[`, key)
	for i := range most {
		if i > 0 {
			if len(e.json) >= size {
				break
			}
			e.json = append(e.json, ',')
		}
		item(i)
	}
	e.json = append(e.json, ']')
}

func (e *event) hex(bytes int) string { return hex.EncodeToString(randomBytes(e.Rand, bytes)) }
func (e *event) project() int         { return 1 + e.IntN(40) }
func (e *event) second() int          { return 1_756_000_000 + e.IntN(10*86_400) }
func (e *event) file() *file          { return &e.files[e.IntN(traceFiles)] }

// number is a JSON number, or one time in twenty what Python writes for a
// float that is none.
func (e *event) number() string {
	if e.IntN(20) == 0 {
		return pick(e.Rand, "NaN", "Infinity", "-Infinity")
	}
	return fmt.Sprintf("%.4f", e.Float64()*100)
}

func (e *event) route() string { return fmt.Sprintf(pick(e.Rand, e.paths...), e.IntN(1e6)) }
func (e *event) query() string { return fmt.Sprintf(pick(e.Rand, e.sql...), e.IntN(1e6)) }

func (e *event) sentence() string {
	return fmt.Sprintf("%s %s %s of %s %d: %s", title(word(e.Rand)), word(e.Rand), word(e.Rand), word(e.Rand), e.IntN(1e6), name(e.Rand))
}
