package target

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opensearch-project/opensearch-go/v4"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

func TestWithoutPayload(t *testing.T) {
	t.Parallel()
	const short = "eJwrSa0oAQAEWwHB"
	long := strings.Repeat(short, 4)
	for reason, want := range map[string]string{
		"": "",
		`DocValuesField "data" is too large, must be <= 32766`:                                                             `DocValuesField "data" is too large, must be <= 32766`,
		"[a]: version conflict, current version [1728043200000000] is higher or equal to the one provided [1728043200000]": "[a]: version conflict, current version [1728043200000000] is higher or equal to the one provided [1728043200000]",
		"no such index [sentry-2024-10-04] and [require_alias] request flag is [true]":                                     "no such index [sentry-2024-10-04] and [require_alias] request flag is [true]",
		"failed to parse field [data] of type [long] in document with id 'a'. Preview of field's value: '" + short + "'":   "failed to parse field [data] of type [long] in document with id 'a'. (value not shown)",
		"failed. Preview of field's value: '{\n" + short + "\n}' and more":                                                 "failed. (value not shown)",
		`immense term in field="data". The prefix of the first immense term is: '[101, 74]...', original message: x`:       `immense term in field="data". (value not shown)`,
		"For input string: \"" + long + "\"":                                                                               "For input string: \"(value not shown)\"",
		"a " + long + " b " + long + " c":                                                                                  "a (value not shown) b (value not shown) c",
		strings.Repeat("é ", maxReason):                                                                                    strings.Repeat("é ", maxReason/3) + "…",
	} {
		if got := withoutPayload(reason); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", reason, got, want)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	structured := &opensearch.StructError{Status: 404}
	structured.Err.Type, structured.Err.Reason = "index_not_found_exception", "no such index [x]"
	for name, test := range map[string]struct {
		err          error
		status       int
		text, remedy string
	}{
		"structured":   {structured, 404, "op: status 404: index_not_found_exception: no such index [x]", ""},
		"text":         {&opensearch.StringError{Status: 503, Err: "upstream"}, 503, "op: status 503: upstream", ""},
		"unauthorized": {fmt.Errorf("%w, status: 401, body: %q", opensearch.ErrJSONUnmarshalBody, "Unauthorized"), 401, "op: status 401: the answer is not", hintCredentials},
		"half JSON":    {fmt.Errorf("%w, status: 200, body: {\"data\":\"marker, err: x", opensearch.ErrJSONUnmarshalBody), 200, "op: status 200: the answer is not", ""},
		"no status":    {fmt.Errorf("%w: x: marker", opensearch.ErrJSONUnmarshalBody), 0, "op: status 0: the answer is not", ""},
		"other":        {errors.New("broken"), 0, "op: broken", ""},
	} {
		err := classify("op", test.err)
		if statusOf(err) != test.status || !strings.HasPrefix(err.Error(), test.text) || strings.Contains(err.Error(), "marker") || hint.Of(err) != test.remedy {
			t.Errorf("%s: %v, status %d, remedy %q", name, err, statusOf(err), hint.Of(err))
		}
	}
	if err := classify("op", nil); err != nil {
		t.Error(err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]action{200: read, 413: split, 429: again, 502: again, 503: again, 504: again, 400: stop, 401: stop, 403: stop, 404: stop, 500: stop} {
		got := judge(answer{status: status}, nil)
		if got.action != want || (want == stop) != (got.err != nil) || (want == again) != (got.cause != "") {
			t.Errorf("status %d: %+v", status, got)
		}
		if uncertain := want == again && status != http.StatusTooManyRequests; got.uncertain != uncertain {
			t.Errorf("status %d: uncertain %v", status, got.uncertain)
		}
	}
	if got := judge(answer{status: 200}, errors.New("cut")); got.action != again || !got.uncertain {
		t.Errorf("half an answer: %+v", got)
	}
}
