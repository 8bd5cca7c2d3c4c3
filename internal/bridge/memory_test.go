package bridge

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Two replicas and a process after them come to know the same, in whatever order they write.
func TestMemoryIsShared(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var c corev1.ConfigMap
	exchange := func(m *memory) {
		t.Helper()
		if err := m.merge(&c, "", now); err != nil {
			t.Fatal(err)
		}
		if err := m.fill(&c, ""); err != nil {
			t.Fatal(err)
		}
	}
	a, b := newMemory(), newMemory()
	web := thing{clusters, 7, "web-prod"}
	a.remember(web, "/music/player/web/web-prod", now.Add(-2*time.Minute))
	b.remember(web, "/video/player/web/web-prod", now.Add(-time.Minute)) // it has moved
	b.remember(thing{applications, 7, ""}, "/video/player/web", now)
	a.see(100)
	a.check(now.Add(-time.Hour), checkpointEvery)
	b.see(120)
	b.check(now, checkpointEvery)
	a.advance(progress{Scan: 1, Webhook: 1, Scanned: now.Add(-time.Hour), Logs: 10, LastLog: 10})
	b.advance(progress{Scan: 2, Webhook: 1, Scanned: now.Add(-time.Minute), Logs: 12, LastLog: 13})
	a.finish(99, now.Add(-5*time.Minute))
	exchange(a)
	exchange(b)
	exchange(a)

	after := newMemory()
	exchange(after)
	if got, ok := after.path(web); !ok || got.path != "/video/player/web/web-prod" {
		t.Errorf("the path of what has moved: %v (%t)", got, ok)
	}
	if got, ok := after.path(thing{kind: applicationMembers, id: 7}); !ok || got.path != "/video/player/web" {
		t.Errorf("the path of an application: %v (%t)", got, ok)
	}
	if got := after.scanned(); got.LastLog != 13 || got.Logs != 12 || !got.Scanned.Equal(now.Add(-time.Minute)) {
		t.Errorf("progress: %+v", got)
	}
	if got, ok := after.timeOf(110); !ok || !got.Equal(now) {
		t.Errorf("an event between two checkpoints: %v (%t)", got, ok)
	}
	if !after.finished(99) {
		t.Error("what is done was forgotten")
	}
	if after.check(now.Add(2*time.Hour), checkpointEvery); len(after.checkpoints) != 2 {
		t.Errorf("a checkpoint without a new event: %v", after.checkpoints)
	}
}

// Bridges of two Horizons share a ConfigMap and nothing else.
func TestPrefixesDoNotMeet(t *testing.T) {
	var c corev1.ConfigMap
	one, two := newMemory(), newMemory()
	one.remember(thing{clusters, 7, ""}, "/music", time.Now())
	if err := one.fill(&c, ""); err != nil {
		t.Fatal(err)
	}
	if err := two.merge(&c, "second-", time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, ok := two.path(thing{clusters, 7, ""}); ok {
		t.Error("a path of another Horizon")
	}
}

// What is stored fits into a ConfigMap, however much there is and however long names are.
func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	now := time.Now()
	for i := range mostPaths + 1 {
		m.remember(thing{clusters, int64(i), ""}, fmt.Sprintf("/%x/%x/application-%d/cluster-%d", i*7919, i*104729, i, i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(m.paths); n > mostPaths {
		t.Errorf("%d paths", n)
	}
	for i := range int64(mostDone) {
		m.finish(1<<52+i, now.Add(time.Duration(i)))
	}
	for i := range 24 * 31 {
		m.checkpoints = mergeCheckpoints(m.checkpoints, []checkpoint{{1<<52 + int64(i), now.Add(time.Duration(i-24*31) * time.Hour)}}, now)
	}
	var c corev1.ConfigMap
	if err := m.fill(&c, ""); err != nil {
		t.Fatal(err)
	}
	text, packed := len(c.Data[stateKey]), len(c.BinaryData[pathsKey])
	t.Logf("%d bytes of state, %d of paths", text, packed)
	if text+packed > 1<<20 {
		t.Errorf("%d bytes of state and %d of paths, more than a ConfigMap has", text, packed)
	}
	again := newMemory()
	if err := again.merge(&c, "", now); err != nil {
		t.Fatal(err)
	}
	if _, ok := again.path(thing{clusters, mostPaths, ""}); !ok {
		t.Error("the newest path is gone")
	}
	if _, ok := again.path(thing{clusters, 0, ""}); ok {
		t.Error("the oldest path is there")
	}
}
