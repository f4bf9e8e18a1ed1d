// An executor on mesos-go's executor packages. Its tasks run until a message says how one of them ends.
//
//	executor protobuf|json
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/backoff"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
	"github.com/mesos/mesos-go/api/v1/lib/executor/events"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpexec"
)

const patience = 10 * time.Second

var states = map[string]mesos.TaskState{"finish": mesos.TASK_FINISHED, "fail": mesos.TASK_FAILED}

type adapter struct {
	calls         calls.Sender
	registrations int
	// What the agent has not acknowledged, which it is told with the next subscription.
	tasks   map[string]mesos.TaskInfo
	updates map[string]executor.Call_Update
	over    bool
}

func (a *adapter) send(call *executor.Call) error {
	answer, err := a.calls.Send(context.Background(), calls.NonStreaming(call))
	if answer != nil {
		answer.Close()
	}
	return err
}

func (a *adapter) say(text string) error {
	return a.send(calls.Message([]byte(text)))
}

func (a *adapter) update(task mesos.TaskID, state mesos.TaskState, message string) error {
	uuid := make([]byte, 16)
	if _, err := rand.Read(uuid); err != nil {
		return err
	}
	status := mesos.TaskStatus{
		TaskID:  task,
		State:   state.Enum(),
		Source:  mesos.SOURCE_EXECUTOR.Enum(),
		UUID:    uuid,
		Message: &message,
	}
	call := calls.Update(status)
	a.updates[string(uuid)] = *call.Update
	return a.send(call)
}

func (a *adapter) handler() events.Handler {
	return events.HandlerFuncs{
		executor.Event_SUBSCRIBED: func(context.Context, *executor.Event) error {
			a.registrations++
			if a.registrations == 1 {
				return nil
			}
			return a.say(fmt.Sprintf("back %d", a.registrations))
		},
		executor.Event_LAUNCH: func(_ context.Context, event *executor.Event) error {
			task := event.Launch.Task
			a.tasks[task.TaskID.Value] = task
			return a.update(task.TaskID, mesos.TASK_RUNNING, fmt.Sprint(os.Getpid()))
		},
		executor.Event_KILL: func(_ context.Context, event *executor.Event) error {
			return a.update(event.Kill.TaskID, mesos.TASK_KILLED, "")
		},
		executor.Event_ACKNOWLEDGED: func(_ context.Context, event *executor.Event) error {
			delete(a.tasks, event.Acknowledged.TaskID.Value)
			delete(a.updates, string(event.Acknowledged.UUID))
			return nil
		},
		executor.Event_MESSAGE: func(_ context.Context, event *executor.Event) error {
			words := strings.Split(string(event.Message.Data), " ")
			if state, found := states[words[0]]; found {
				return a.update(mesos.TaskID{Value: words[1]}, state, "")
			}
			return a.say("heard " + strings.Join(words, " "))
		},
		executor.Event_SHUTDOWN: func(context.Context, *executor.Event) error {
			a.over = true
			return os.WriteFile("shut-down", nil, 0o644)
		},
	}
}

// Subscribes and takes events until the stream breaks.
func (a *adapter) listen(subscriber calls.Sender, handler events.Handler) error {
	tasks := make([]mesos.TaskInfo, 0, len(a.tasks))
	for _, task := range a.tasks {
		tasks = append(tasks, task)
	}
	updates := make([]executor.Call_Update, 0, len(a.updates))
	for _, update := range a.updates {
		updates = append(updates, update)
	}
	stream, err := subscriber.Send(context.Background(), calls.NonStreaming(calls.Subscribe(tasks, updates)))
	if stream != nil {
		defer stream.Close()
	}
	for err == nil && !a.over {
		var event executor.Event
		if err = stream.Decode(&event); err == nil {
			err = handler.HandleEvent(context.Background(), &event)
		}
	}
	return err
}

func main() {
	settings, err := config.FromEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	here, err := os.Getwd()
	if err != nil || settings.Sandbox != here || settings.Directory != here {
		fmt.Fprintln(os.Stderr, "not in the sandbox:", here, settings, err)
		os.Exit(1)
	}
	codec := codecs.ByMediaType[codecs.MediaTypeProtobuf]
	if os.Args[1] == "json" {
		codec = codecs.ByMediaType[codecs.MediaTypeJSON]
	}
	client := httpcli.New(
		httpcli.Endpoint("http://"+settings.AgentEndpoint+"/api/v1/executor"),
		httpcli.Codec(codec),
		httpcli.Do(httpcli.With(httpcli.Timeout(patience))),
	)
	who := executor.CallOptions{calls.Framework(settings.FrameworkID), calls.Executor(settings.ExecutorID)}
	a := &adapter{
		calls:   calls.SenderWith(httpexec.NewSender(client.Send), who...),
		tasks:   map[string]mesos.TaskInfo{},
		updates: map[string]executor.Call_Update{},
	}
	subscriber := calls.SenderWith(httpexec.NewSender(client.Send, httpcli.Close(true)), who...)
	handler := a.handler()
	again := backoff.Notifier(100*time.Millisecond, settings.SubscriptionBackoffMax, nil)
	last := time.Now()
	for {
		begun := time.Now()
		err := a.listen(subscriber, handler)
		if a.over || !settings.Checkpoint {
			return
		}
		fmt.Fprintln(os.Stderr, "lost:", err)
		if a.registrations > 0 && time.Since(begun) > time.Second {
			last = time.Now()
		}
		if time.Since(last) > settings.RecoveryTimeout {
			os.Exit(1)
		}
		<-again
	}
}
