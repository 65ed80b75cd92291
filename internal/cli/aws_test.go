package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// TestRequestsAreSigned asks a server that only keeps what it was asked with:
// there is no Amazon to ask here.
func TestRequestsAreSigned(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	var authorization string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	flags := targetFlags{Target: server.URL, awsFlags: awsFlags{TargetAWSRegion: "eu-central-1", TargetAWSService: "es"}}
	config, err := flags.config(t.Context(), &process{getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	config.Patience, config.Waiting = time.Millisecond, nil // a refusal may pass: it is asked again
	if _, err := target.Open(t.Context(), config); !strings.Contains(remedy(err), "look at this machine's clock") {
		t.Fatalf("a 403 is the error %v, remedy %q", err, remedy(err))
	}
	for _, part := range []string{"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/", "/eu-central-1/es/aws4_request", "Signature="} {
		if !strings.Contains(authorization, part) {
			t.Errorf("authorization %q lacks %q", authorization, part)
		}
	}
	if strings.Contains(authorization, "secret-of-the-test") {
		t.Error("the secret travels")
	}
}

func TestSigningWithoutCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	flags := awsFlags{TargetAWSRegion: "eu-central-1", TargetAWSService: "es"}
	if _, err := flags.signer(t.Context()); err == nil || !strings.Contains(err.Error(), "find AWS credentials") {
		t.Errorf("signer = %v", err)
	}
}
