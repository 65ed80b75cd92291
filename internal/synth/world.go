package synth

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// world is what the events of one installation have in common: the source
// files that their stack traces cite, the native images that crashes load, the
// routes that are called. Real events repeat these within and between
// themselves, which is where their compressibility comes from. All strings are
// ready to stand inside a JSON string.
type world struct {
	files  []file
	images []string // debug_meta.images, complete JSON objects
	routes []string
	tables []string
}

type file struct {
	path, module string
	functions    []string
	lines        []string
}

const (
	worldFiles  = 150
	fileLines   = 160
	worldImages = 900
)

func newWorld(rng *rand.Rand) *world {
	w := new(world)
	for range 60 {
		w.routes = append(w.routes, "/api/0/"+word(rng)+"s/%d/"+word(rng)+"/")
		w.tables = append(w.tables, word(rng)+"_"+word(rng))
	}
	for range worldFiles {
		w.files = append(w.files, newFile(rng))
	}
	for i := range worldImages {
		w.images = append(w.images, newImage(rng, i))
	}
	return w
}

func newFile(rng *rand.Rand) file {
	parts := []string{word(rng), word(rng), name(rng)}
	f := file{path: strings.Join(parts, "/") + ".py", module: strings.Join(parts, ".")}
	for range 12 {
		f.functions = append(f.functions, name(rng))
	}
	for range fileLines {
		f.lines = append(f.lines, strings.Repeat("    ", rng.IntN(5))+newLine(rng))
	}
	return f
}

// newLine makes a line of source code.
func newLine(rng *rand.Rand) string {
	a, b, c := name(rng), word(rng), name(rng)
	switch rng.IntN(12) {
	case 0:
		return ""
	case 1:
		return "def " + a + "(self, " + b + ", " + c + "=None):"
	case 2:
		return "if " + b + "." + c + " is None:"
	case 3:
		return "for " + b + " in self." + a + "(" + c + "):"
	case 4:
		return "raise " + title(b) + `Error(\"` + b + " " + word(rng) + " " + word(rng) + `\")`
	case 5:
		return "# " + b + " " + word(rng) + " " + word(rng) + " when " + word(rng) + " is " + word(rng)
	case 6:
		return "return self." + a + "(" + b + ", " + c + fmt.Sprintf(", limit=%d)", rng.IntN(1000))
	case 7:
		return `logger.info(\"` + b + "." + word(rng) + `\", extra={\"` + c + `\": ` + b + "})"
	case 8:
		return "self." + a + " = " + title(b) + title(word(rng)) + "." + c + "()"
	default:
		return a + " = " + b + "." + name(rng) + "(" + c + ", " + word(rng) + ")"
	}
}

func newImage(rng *rand.Rand, i int) string {
	library := title(word(rng)) + title(word(rng))
	return fmt.Sprintf(`{"code_file":"/System/Library/Frameworks/%s.framework/%s","debug_id":"%s","image_addr":"0x%x","image_size":%d,`+
		`"type":"macho","debug_status":"%s","unwind_status":"%s","arch":"arm64","features":{"has_debug_info":%t,"has_sources":false,"has_symbols":true,"has_unwind_info":%t}}`,
		library, library, newUUID(rng), 0x180000000+i*0x40000, 0x4000*(1+rng.IntN(900)),
		pick(rng, "found", "missing", "unused"), pick(rng, "found", "missing", "unused"), i%3 == 0, i%2 == 0)
}

func newUUID(rng *rand.Rand) string {
	b := randomBytes(rng, 16)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

func name(rng *rand.Rand) string { return word(rng) + "_" + word(rng) }

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

func word(rng *rand.Rand) string { return words[rng.IntN(len(words))] }

var words = strings.Fields(`
account action adapter address alert amount archive array asset async attempt audit author backend balance
bank batch billing block body branch bridge broker bucket buffer build button cache call campaign cancel cart
catalog category channel charge check checkout child chunk cipher claim client cluster code coin column commit
component config connect consumer contact content context control cookie count coupon course create credit cursor
customer cycle daemon data date debit decode default delay delete delivery depth device digest discount dispatch
document domain draft driver edge email encode endpoint engine entry env error event export factory feature feed
fetch field file filter flag flow folder form format frame gateway graph group handler hash header health hook
host image import index input insert invoice item job join journal key label layer layout ledger level library
limit line link list loader locale lock login logout mail main manager map market member menu merge message meta
method metric mobile model module monitor network node notice number object offer option order organization output
owner package page panel parent parser partner password path payload payment permission phone plan platform plugin
point policy pool portal post price printer process product profile project promo provider proxy query queue quota
rate reader record refund region registry release remote render replay report request reserve resolver resource
response result retry return review role route rule runner sample scan schema scope score search section secret
segment send sender sequence serial server service session setting shape share sheet shipment signal site size
slot snapshot socket source span stage state stats status stock storage store stream string style subject summary
supplier support sync system table tag target task tax team template tenant text thread ticket timer token topic
trace track transfer transport tree trigger type unit update upload user validator value vendor version video view
visit voucher wallet warehouse webhook widget window worker wrapper writer zone`)
