package cli

import (
	"strings"
	"testing"
)

func TestNoPasswordIsShown(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	for _, arg := range []string{
		"postgres://sentry:s3cr3t@db:5432/sentry",
		"--source=postgres://sentry:s3cr3t@db:5432/sentry?sslmode=require",
		"postgres://sentry@db/sentry?password=s3cr3t",
		"postgres://sentry:p#s3cr3t@db/sentry",
		"postgres://sentry:1#s3cr3t@db/sentry",
		"postgres://sentry:1/s3cr3t@db/sentry",
		"postgres://sentry:1?s3cr3t@db/sentry",
		"postgres://sentry:p,s3cr3t@db/sentry",
		"https://admin:s3cr3t@a:9200,https://admin:s3cr3t@b:9200",
		"https://admin:x,s3cr3t@a:9200,https://admin:y,s3cr3t@b:9200",
		"host=db user=sentry password=s3cr3t dbname=sentry",
		"--source=host=db password='a \\' s3cr3t' dbname=sentry",
		"host=db sslpassword = s3cr3t",
	} {
		if shown := strings.Join(withoutPasswords([]string{arg}), " "); strings.Contains(shown, secret) {
			t.Errorf("%s is shown as %s", arg, shown)
		}
	}
}

func TestWhatIsNoPasswordIsShown(t *testing.T) {
	t.Parallel()
	args := []string{"verify", "--source=postgres://sentry@db:5432/sentry", "--target", "https://a:9200,https://b:9200", "--level=full", "--subset=3/12"}
	want := "nodestore-migrate " + strings.Join(args, " ")
	if shown := strings.Join(withoutPasswords(args), " "); shown != want {
		t.Errorf("shown as %s, want %s", shown, want)
	}
}
