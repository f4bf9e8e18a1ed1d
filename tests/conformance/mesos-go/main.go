// Adapter of mesos-go's scheduler packages: commands on standard input, what the library saw on standard output.
//
//	adapter protobuf|json HOST:PORT...
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/backoff"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/callrules"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/controller"
	"github.com/mesos/mesos-go/api/v1/lib/extras/scheduler/eventrules"
	"github.com/mesos/mesos-go/api/v1/lib/extras/store"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpsched"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/events"
)

const patience = time.Minute

type order struct {
	Do      string   `json:"do"`
	Task    string   `json:"task"`
	Command string   `json:"command"`
	Tasks   []string `json:"tasks"`
	Seconds float64  `json:"seconds"`
}

var output sync.Mutex

func say(saw string, details map[string]interface{}) {
	if details == nil {
		details = map[string]interface{}{}
	}
	details["saw"] = saw
	line, err := json.Marshal(details)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

// The leading master, asked from all of them: the library follows a redirect with the SUBSCRIBE alone and sends every later
// call to the endpoint it was given.
func leader(masters []string) string {
	asking := http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, master := range masters {
		answer, err := asking.Get("http://" + master + "/redirect")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if at, err := answer.Location(); err == nil {
			return at.Host
		}
	}
	return masters[0]
}

type adapter struct {
	caller calls.Caller
	mutex  sync.Mutex
	// Offers that nobody has used yet.
	offers []mesos.Offer
	// The agent of every task of which there was news.
	agents map[string]string
	// One token whenever offers have come.
	arrived chan struct{}
}

func (a *adapter) take() (mesos.Offer, error) {
	deadline := time.After(patience)
	for {
		a.mutex.Lock()
		if len(a.offers) > 0 {
			offer := a.offers[0]
			a.offers = a.offers[1:]
			a.mutex.Unlock()
			return offer, nil
		}
		a.mutex.Unlock()
		select {
		case <-a.arrived:
		case <-deadline:
			return mesos.Offer{}, errors.New("no offer")
		}
	}
}

func (a *adapter) handlers(ids store.Singleton) events.Handler {
	heard := events.HandlerFunc(func(_ context.Context, event *scheduler.Event) error {
		switch event.GetType() {
		case scheduler.Event_SUBSCRIBED:
			a.mutex.Lock()
			a.offers = nil
			a.mutex.Unlock()
			say("subscribed", map[string]interface{}{"framework": event.GetSubscribed().GetFrameworkID().Value})
		case scheduler.Event_OFFERS:
			offers := event.GetOffers().GetOffers()
			a.mutex.Lock()
			a.offers = append(a.offers, offers...)
			a.mutex.Unlock()
			for _, offer := range offers {
				say("offer", map[string]interface{}{"offer": offer.ID.Value})
			}
			select {
			case a.arrived <- struct{}{}:
			default:
			}
		case scheduler.Event_RESCIND:
			id := event.GetRescind().GetOfferID().Value
			a.mutex.Lock()
			kept := a.offers[:0]
			for _, offer := range a.offers {
				if offer.ID.Value != id {
					kept = append(kept, offer)
				}
			}
			a.offers = kept
			a.mutex.Unlock()
			say("rescind", map[string]interface{}{"offer": id})
		case scheduler.Event_UPDATE:
			status := event.GetUpdate().GetStatus()
			if status.AgentID != nil {
				a.mutex.Lock()
				a.agents[status.TaskID.Value] = status.AgentID.Value
				a.mutex.Unlock()
			}
			update := map[string]interface{}{"task": status.TaskID.Value, "state": status.GetState().String()}
			if status.Reason != nil {
				update["reason"] = status.GetReason().String()
			}
			say("update", update)
		case scheduler.Event_HEARTBEAT:
			say("heartbeat", nil)
		case scheduler.Event_ERROR:
			say("error", map[string]interface{}{"message": event.GetError().GetMessage()})
		}
		return nil
	})
	return eventrules.New(
		controller.TrackSubscription(ids, patience),
		controller.AckStatusUpdates(a.caller),
	).Handle(heard)
}

func (a *adapter) obey(order order) error {
	var call *scheduler.Call
	switch order.Do {
	case "launch":
		offer, err := a.take()
		if err != nil {
			return err
		}
		task := mesos.TaskInfo{
			Name:      order.Task,
			TaskID:    mesos.TaskID{Value: order.Task},
			AgentID:   offer.AgentID,
			Command:   &mesos.CommandInfo{Value: &order.Command},
			Resources: mesos.Resources{resources.NewCPUs(0.1).Resource, resources.NewMemory(32).Resource},
		}
		operations := calls.OfferOperations{calls.OpLaunch(task)}.WithOffers(offer.ID)
		call = calls.Accept(operations).With(calls.RefuseSeconds(0))
	case "kill":
		a.mutex.Lock()
		agent := a.agents[order.Task]
		a.mutex.Unlock()
		call = calls.Kill(order.Task, agent)
	case "reconcile":
		tasks := map[string]string{}
		a.mutex.Lock()
		for _, task := range order.Tasks {
			tasks[task] = a.agents[task]
		}
		a.mutex.Unlock()
		call = calls.Reconcile(calls.ReconcileTasks(tasks))
	case "decline":
		a.mutex.Lock()
		ids := make([]mesos.OfferID, 0, len(a.offers))
		for _, offer := range a.offers {
			ids = append(ids, offer.ID)
		}
		a.offers = nil
		a.mutex.Unlock()
		call = calls.Decline(ids...).With(calls.RefuseSeconds(time.Duration(order.Seconds * float64(time.Second))))
	case "suppress":
		call = calls.Suppress()
	case "revive":
		call = calls.Revive()
	case "teardown":
		call = &scheduler.Call{Type: scheduler.Call_TEARDOWN}
	default:
		return errors.New("no such command")
	}
	return calls.CallNoData(context.Background(), a.caller, call)
}

func main() {
	codec := codecs.ByMediaType[codecs.MediaTypeProtobuf]
	if os.Args[1] == "json" {
		codec = codecs.ByMediaType[codecs.MediaTypeJSON]
	}
	masters := os.Args[2:]
	url := func(master string) string { return "http://" + master + "/api/v1/scheduler" }
	ids := store.NewInMemorySingleton()
	client := httpcli.New(httpcli.Endpoint(url(masters[0])), httpcli.Codec(codec), httpcli.Do(httpcli.With(httpcli.Timeout(patience))))
	a := &adapter{agents: map[string]string{}, arrived: make(chan struct{}, 1)}
	find := func() { client.With(httpcli.Endpoint(url(leader(masters)))) }
	find()
	a.caller = callrules.New(callrules.WithFrameworkID(store.GetIgnoreErrors(ids))).
		Caller(httpsched.NewCaller(client, httpsched.MaxRedirects(0)))

	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			var order order
			if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
				panic(err)
			}
			if err := a.obey(order); err != nil {
				say("error", map[string]interface{}{"command": order.Do, "message": err.Error()})
				continue
			}
			say("done", map[string]interface{}{"command": order.Do})
		}
		os.Exit(0)
	}()

	failover := patience.Seconds() * 10
	framework := &mesos.FrameworkInfo{User: "root", Name: "mesos-go", FailoverTimeout: &failover}
	stop := make(chan struct{})
	err := controller.Run(context.Background(), framework, a.caller,
		controller.WithEventHandler(a.handlers(ids)),
		controller.WithFrameworkID(store.GetIgnoreErrors(ids)),
		controller.WithRegistrationTokens(backoff.Notifier(100*time.Millisecond, time.Second, stop)),
		controller.WithSubscriptionTerminated(func(err error) {
			message := "ended"
			if err != nil {
				message = err.Error()
			}
			say("lost", map[string]interface{}{"message": message})
			find()
		}),
	)
	say("error", map[string]interface{}{"message": fmt.Sprint(err)})
}
