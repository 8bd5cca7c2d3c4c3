package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// etcdTimeout bounds a request to etcd; defragmenting takes longest.
const etcdTimeout = 30 * time.Second

// etcd is a client of etcd's JSON gateway, for the few things that an
// administrator does there.
type etcd struct {
	url    string
	client *http.Client
}

// etcd returns a client, whose connections do not outlive its requests.
func (s *cluster) etcd() *etcd {
	return &etcd{url: s.cp.EtcdGateway(), client: &http.Client{
		Timeout: etcdTimeout, Transport: &http.Transport{TLSClientConfig: s.cp.EtcdTLS(), DisableKeepAlives: true},
	}}
}

func (e *etcd) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := e.client.Do(r)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd says %s to %s: %s", resp.Status, path, data)
	}
	return json.Unmarshal(data, answer)
}

// nothing is a request or an answer of which nothing matters.
type nothing struct{}

// compact forgets every version but the current ones.
func (e *etcd) compact(ctx context.Context) error {
	var found struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	// Any key tells the revision.
	if err := e.post(ctx, "/v3/kv/range", map[string][]byte{"key": []byte("registry")}, &found); err != nil {
		return err
	}
	return e.post(ctx, "/v3/kv/compaction", map[string]any{"revision": found.Header.Revision, "physical": true}, &nothing{})
}

// defragment gives space that is not used any more back.
func (e *etcd) defragment(ctx context.Context) error {
	return e.post(ctx, "/v3/maintenance/defragment", nothing{}, &nothing{})
}

// alarm is what keeps a member of a full etcd from taking writes.
type alarm struct {
	MemberID string `json:"memberID"`
	Alarm    string `json:"alarm"`
}

// alarms are those that are on.
func (e *etcd) alarms(ctx context.Context) ([]alarm, error) {
	var found struct {
		Alarms []alarm `json:"alarms"`
	}
	err := e.post(ctx, "/v3/maintenance/alarm", map[string]string{"action": "GET"}, &found)
	return found.Alarms, err
}

// disarm ends the alarms. Each has to be named with its member.
func (e *etcd) disarm(ctx context.Context) error {
	all, err := e.alarms(ctx)
	for _, a := range all {
		err = errors.Join(err, e.post(ctx, "/v3/maintenance/alarm",
			map[string]string{"action": "DEACTIVATE", "memberID": a.MemberID, "alarm": a.Alarm}, &nothing{}))
	}
	return err
}
