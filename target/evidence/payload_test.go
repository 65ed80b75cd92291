package evidence

import (
	"bytes"
	"encoding/json"
	"testing"
)

// lifted is what an answer with one hit is read as.
func lifted(t *testing.T, answer string) (Document, error) {
	t.Helper()
	rest, payloads := liftPayloads([]byte(answer))
	var h payloadHit
	if err := json.Unmarshal(rest, &h); err != nil {
		t.Fatalf("%s: %v", rest, err)
	}
	return h.document(payloads)
}

func TestPayloadsAreLifted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, answer, id, data string }{
		{"plain", `{"_id":"a","fields":{"data":["eJwB/+="],"timestamp":["5"]}}`, "a", "eJwB/+="},
		{"empty", `{"_id":"a","fields":{"data":[""]}}`, "a", ""},
		{"escaped", `{"_id":"a","fields":{"data":["x\"\u0041y"],"timestamp":["5"]}}`, "a", `x"Ay`},
		{"with spaces", `{"_id":"a", "fields": {"data" : [ "abc" ]}}`, "a", "abc"},
		{"the field in an id", `{"_id":"\"data\":[\"zzz\"]","fields":{"data":["abc"]}}`, `"data":["zzz"]`, "abc"},
	} {
		d, err := lifted(t, test.answer)
		if err != nil || d.ID != test.id || string(d.Data) != test.data {
			t.Errorf("%s: id %q, data %q, %v", test.name, d.ID, d.Data, err)
		}
	}
	for _, answer := range []string{`{"_id":"a","fields":{"data":[7]}}`, `{"_id":"a","fields":{"data":[null]}}`} {
		if d, err := lifted(t, answer); err == nil {
			t.Errorf("%s is read as %q", answer, d.Data)
		}
	}
}

// FuzzLiftPayloads compares with a decoder that reads everything.
func FuzzLiftPayloads(f *testing.F) {
	f.Add("id", "eJw=", "eJx+/")
	f.Add(`"data":["`, `a"b\`, "")
	f.Fuzz(func(t *testing.T, id, first, second string) {
		type stored struct {
			ID     string `json:"_id"`
			Fields struct {
				Data []string `json:"data"`
			} `json:"fields"`
		}
		var hits [2]stored
		for i, data := range []string{first, second} {
			hits[i].ID, hits[i].Fields.Data = id, []string{data}
		}
		answer, err := json.Marshal(hits)
		if err != nil {
			t.Skip()
		}
		var want [2]stored
		if err := json.Unmarshal(answer, &want); err != nil {
			t.Fatal(err)
		}
		rest, payloads := liftPayloads(answer)
		var got [2]payloadHit
		if err := json.Unmarshal(rest, &got); err != nil {
			t.Fatalf("%s: %v", rest, err)
		}
		for i, h := range got {
			d, err := h.document(payloads)
			if err != nil || d.ID != want[i].ID || !bytes.Equal(d.Data, []byte(want[i].Fields.Data[0])) {
				t.Errorf("hit %d: %q %q, %v; want %q %q", i, d.ID, d.Data, err, want[i].ID, want[i].Fields.Data[0])
			}
		}
	})
}
