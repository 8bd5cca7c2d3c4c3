package controlplane

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

// EtcdClient is a client of etcd's JSON gateway, for the few things that an
// administrator does there.
type EtcdClient struct {
	url    string
	client *http.Client
}

// EtcdClient returns a client, whose connections do not outlive its requests.
func (cp *ControlPlane) EtcdClient() *EtcdClient {
	return &EtcdClient{url: cp.EtcdGateway(), client: &http.Client{
		Timeout: etcdTimeout, Transport: &http.Transport{TLSClientConfig: cp.EtcdTLS(), DisableKeepAlives: true},
	}}
}

func (e *EtcdClient) post(ctx context.Context, path string, request, answer any) error {
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

// Put writes a key, whatever it is to the API server.
func (e *EtcdClient) Put(ctx context.Context, key string, value []byte) error {
	return e.post(ctx, "/v3/kv/put", map[string][]byte{"key": []byte(key), "value": value}, &nothing{})
}

// Compact forgets every version but the current ones.
func (e *EtcdClient) Compact(ctx context.Context) error {
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

// Defragment gives space that is not used any more back.
func (e *EtcdClient) Defragment(ctx context.Context) error {
	return e.post(ctx, "/v3/maintenance/defragment", nothing{}, &nothing{})
}

// Alarm is what keeps a member of a full etcd from taking writes.
type Alarm struct {
	MemberID string `json:"memberID"`
	Alarm    string `json:"alarm"`
}

// Alarms are those that are on.
func (e *EtcdClient) Alarms(ctx context.Context) ([]Alarm, error) {
	var found struct {
		Alarms []Alarm `json:"alarms"`
	}
	err := e.post(ctx, "/v3/maintenance/alarm", map[string]string{"action": "GET"}, &found)
	return found.Alarms, err
}

// Disarm ends the alarms. Each has to be named with its member.
func (e *EtcdClient) Disarm(ctx context.Context) error {
	all, err := e.Alarms(ctx)
	for _, a := range all {
		err = errors.Join(err, e.post(ctx, "/v3/maintenance/alarm",
			map[string]string{"action": "DEACTIVATE", "memberID": a.MemberID, "alarm": a.Alarm}, &nothing{}))
	}
	return err
}
