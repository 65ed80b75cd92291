//go:build browser

package verify_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/nodestore-migrate/nodestore-migrate/verify/report"
)

// browserPath finds Debian's chromium. A missing browser fails a test.
const browserPath = "/usr/bin/chromium"

// visit is what a browser made of a page.
type visit struct {
	mu       sync.Mutex
	requests []string
	errors   []string
}

func (v *visit) listen(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		v.requests = append(v.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		v.errors = append(v.errors, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		v.errors = append(v.errors, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		v.errors = append(v.errors, e.ExceptionDetails.Text)
	}
}

// browser opens a headless browser for a test.
func browser(t *testing.T) (context.Context, *visit) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browserPath), chromedp.NoSandbox,
		chromedp.WindowSize(1100, 900),
		chromedp.Env("TMPDIR="+t.TempDir())) // it leaves files behind
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	seen := &visit{}
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(seen.listen))
	t.Cleanup(cancel)
	for _, enable := range []func() error{
		func() error { _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); return err },
		func() error { _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); return err },
	} {
		if err := enable(); err != nil {
			t.Fatal(err)
		}
	}
	return ctx, seen
}

func TestReportInABrowser(t *testing.T) {
	t.Parallel()
	r := sampleReport(30)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.Write(r, path); err != nil {
		t.Fatal(err)
	}
	ctx, seen := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	verdict := evaluate[string](t, ctx, `document.querySelector("#verdict").innerText`)
	text := evaluate[string](t, ctx, `document.body.innerText`)
	plots := evaluate[int](t, ctx, `[...document.querySelectorAll("figure svg")].filter(s => s.getBoundingClientRect().height > 100).length`)
	bars := evaluate[int](t, ctx, `[...document.querySelectorAll("figure svg path")].filter(p => getComputedStyle(p).fill == "rgb(59, 111, 182)").length`)
	light := screenshot(t, ctx)
	dark := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, dark); err != nil {
		t.Fatal(err)
	}
	scheme := evaluate[string](t, ctx, `getComputedStyle(document.body).backgroundColor`)
	keepScreenshot(t, "light.png", light)
	keepScreenshot(t, "dark.png", screenshot(t, ctx))
	if verdict != r.Verdict.Sentence {
		t.Errorf("the verdict is %q", verdict)
	}
	for _, want := range []string{hostile, "Not yet safe to drop", "2025-03-30", "5,944 nodes", "26 of 30 days are compact", "upwards: 1;", "downwards: 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if plots != 6 || bars < 90 {
		t.Errorf("%d plots with %d bars are shown", plots, bars)
	}
	if scheme != "rgb(20, 24, 29)" {
		t.Errorf("on a dark screen the page is %s", scheme)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.errors) > 0 {
		t.Errorf("the browser reports %v", seen.errors)
	}
	for _, url := range seen.requests {
		if url != "file://"+path && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asks for %s", url)
		}
	}
	if len(seen.requests) == 0 {
		t.Error("no request was seen, not even for the page")
	}
}

// TestLongReportInABrowser reads two years of days on a phone, on a screen and on paper.
func TestLongReportInABrowser(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.Write(sampleReport(730), path); err != nil {
		t.Fatal(err)
	}
	if file, err := os.Stat(path); err != nil || file.Size() > 4<<20 {
		t.Fatalf("%d bytes, %v", file.Size(), err)
	}
	ctx, _ := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	const beyond = `document.documentElement.scrollWidth - document.documentElement.clientWidth`
	for _, width := range []int64{400, 1400} {
		size := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1}
		if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, size); err != nil {
			t.Fatal(err)
		}
		if n := evaluate[int](t, ctx, beyond); n > 0 {
			t.Errorf("at %d pixels the page is %d too wide", width, n)
		}
		keepScreenshot(t, fmt.Sprintf("long-%d.png", width), screenshot(t, ctx))
	}
	paper := emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, paper); err != nil {
		t.Fatal(err)
	}
	// A4 between its margins.
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 718, Height: 1000, DeviceScaleFactor: 1}); err != nil {
		t.Fatal(err)
	}
	if colour := evaluate[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); colour != "rgb(255, 255, 255)" {
		t.Errorf("paper is %s where the screen is dark", colour)
	}
	cut := evaluate[int](t, ctx, `[...document.querySelectorAll("section, figure")].filter(e => e.scrollWidth > e.clientWidth + 1).length`)
	if n := evaluate[int](t, ctx, beyond); n > 0 || cut > 0 {
		t.Errorf("on paper the page is %d too wide, and %d parts of it are cut off", n, cut)
	}
	keepScreenshot(t, "paper.png", screenshot(t, ctx))
}

func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func screenshot(t *testing.T, ctx context.Context) []byte {
	t.Helper()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// keepScreenshot writes a picture for the documentation where it was asked for.
func keepScreenshot(t *testing.T, name string, picture []byte) {
	t.Helper()
	dir := os.Getenv("NODESTORE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
