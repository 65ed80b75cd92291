package synth

// The items of an event's lists. Each appends one JSON object.

func (e *event) frame(int) {
	f := e.file()
	line := 5 + e.IntN(fileLines-10)
	e.add(`{"function":"%s","module":"%s","filename":"%s","abs_path":"/usr/src/app/%s","lineno":%d,"in_app":%t,"context_line":"%s","pre_context":`,
		f.functions[e.IntN(len(f.functions))], f.module, f.path, f.path, line, e.IntN(3) > 0, f.lines[line])
	e.lines(f.lines[line-5 : line])
	e.add(`,"post_context":`)
	e.lines(f.lines[line+1 : line+6])
	e.add(`,"vars":{"self":"<%s.%s object at 0x7f%010x>","%s":"'%s'","%s":%d,"%s":"UUID('%s')","args":["<Request: %s>",%s],"kwargs":{"%s":null}},"data":{"orig_in_app":-1}}`,
		f.module, title(word(e.Rand)), e.Uint32(), word(e.Rand), name(e.Rand), word(e.Rand), e.IntN(1e5), name(e.Rand), newUUID(e.Rand), e.route(), e.number(), word(e.Rand))
}

func (e *event) lines(lines []string) {
	for i, line := range lines {
		e.json = append(e.json, "[,"[min(i, 1)])
		e.add(`"%s"`, line)
	}
	e.json = append(e.json, ']')
}

func (e *event) breadcrumb(int) {
	e.add(`{"type":"%s","category":"%s","level":"%s","timestamp":%d.%06d,`,
		pick(e.Rand, "default", "http", "query"), pick(e.Rand, "httplib", "query", "redis", "django.request"), pick(e.Rand, "info", "warning", "error"), e.second(), e.IntN(1e6))
	if e.IntN(2) == 0 {
		e.add(`"message":"%s","data":{}}`, e.query())
		return
	}
	e.add(`"data":{"url":"https://%s.example.com%s","method":"GET","status_code":%d,"duration":%s}}`,
		word(e.Rand), e.route(), 200+e.IntN(4)*100, e.number())
}

func (e *event) state(int) {
	e.add(`{"%s":"%s","%s":{"id":%d,"key":"%s","updated":"2025-08-%02dT%02d:%02d:%02dZ"}}`,
		name(e.Rand), e.sentence(), word(e.Rand), e.IntN(1e6), e.hex(8), 1+e.IntN(28), e.IntN(24), e.IntN(60), e.IntN(60))
}

func (e *event) span(int) {
	start := e.second()
	e.add(`{"op":"%s","description":"%s","span_id":"%s","parent_span_id":"%s","trace_id":"0af7651916cd43dd8448eb211c80319c","start_timestamp":%d.%06d,"timestamp":%d.%06d,"exclusive_time":%s,"status":"ok","hash":"%s","same_process_as_parent":true,"data":{"db.system":"postgresql","thread.id":"%d"},"origin":"auto.db.django"}`,
		pick(e.Rand, "db", "db.sql.query", "http.client", "cache.get_item", "template.render"), e.query(), e.hex(8), e.hex(8), start, e.IntN(1e6), start+e.IntN(3), e.IntN(1e6), e.number(), e.hex(8), 140000000000+e.IntN(16))
}

func (e *event) nativeFrame(int) {
	library := title(word(e.Rand)) + title(word(e.Rand))
	e.add(`{"function":"-[%s %s:]","symbol":"-[%s %s:]","package":"/System/Library/Frameworks/%s.framework/%s","instruction_addr":"0x1%08x","symbol_addr":"0x1%08x","lineno":%d,"in_app":%t,"trust":"%s","data":{"symbolicator_status":"symbolicated"}}`,
		library, name(e.Rand), library, name(e.Rand), library, library, e.Uint32(), e.Uint32(), e.IntN(900), e.IntN(4) == 0, pick(e.Rand, "context", "cfi", "fp"))
}

func (e *event) thread(i int) {
	e.add(`{"id":%d,"name":"%s","crashed":false,"current":false,"stacktrace":{`, i, name(e.Rand))
	e.list("frames", 12, 1<<62, e.nativeFrame)
	e.add(`,"registers":{"x0":"0x%016x","x1":"0x%016x","pc":"0x%016x","sp":"0x%016x"}}}`, e.Uint64(), e.Uint64(), e.Uint64(), e.Uint64())
}
