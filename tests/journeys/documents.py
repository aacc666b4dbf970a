"""Definitions the tests of lifecycle semantics share."""

NESTED = """
kind: lifecycle
id: nested
events: [GO, BACK, IN, UP, SELF, OUT]
initial: A
on:
  OUT: {target: END, actions: [act]}
states:
  A:
    entry: [enter_a]
    exit: [exit_a]
    on: {GO: {target: B, actions: [act]}}
  B:
    initial: X
    entry: [enter_b]
    exit: [exit_b]
    on:
      BACK: {target: A, actions: [act]}
      UP: {target: B, actions: [act]}
    states:
      X:
        entry: [enter_x]
        exit: [exit_x]
        on:
          IN: {target: B.Y.DEEP, actions: [act]}
          SELF: {target: B.X, actions: [act]}
      Y:
        initial: SHALLOW
        entry: [enter_y]
        exit: [exit_y]
        states:
          SHALLOW: {}
          DEEP:
            entry: [enter_deep]
            exit: [exit_deep]
            on: {BACK: B}
  END: {terminal: true, entry: [enter_end]}
actions:
  act: {type: log, message: {var: state}}
  enter_a: {type: log, message: {var: state}}
  exit_a: {type: log, message: {var: state}}
  enter_b: {type: log, message: {var: state}}
  exit_b: {type: log, message: {var: state}}
  enter_x: {type: log, message: {var: state}}
  exit_x: {type: log, message: {var: state}}
  enter_y: {type: log, message: {var: state}}
  exit_y: {type: log, message: {var: state}}
  enter_deep: {type: log, message: {var: state}}
  exit_deep: {type: log, message: {var: state}}
  enter_end: {type: log, message: {var: state}}
"""

IDLE = """
kind: lifecycle
id: idle
events: [PING, OPEN, CLOSE, END]
initial: HOME
after: {delay: 30d, target: GONE, actions: [farewell]}
on: {END: OVER}
states:
  HOME:
    on: {OPEN: SHOP}
  SHOP:
    initial: CART
    after: {delay: 1h, target: HOME, set: {abandoned: {"+": [{var: abandoned}, 1]}}}
    on: {CLOSE: HOME}
    states:
      CART: {on: {OPEN: SHOP.TILL}}
      TILL: {}
  GONE:
    on: {PING: HOME}
  OVER: {terminal: true}
context: {abandoned: 0}
actions:
  farewell: {type: log, message: farewell}
"""

CALLS = """
kind: lifecycle
id: calls
events: [ASK, ASK_MANY]
initial: READY
context: {failures: 0, note: ""}
states:
  READY:
    on:
      ASK: {target: WAITING, actions: [call]}
      ASK_MANY: {actions: [call, tell]}
  WAITING:
    on:
      CALL_FAILED:
        - {when: {"===": [{var: event.payload.error}, gone]}, target: LOST}
        - {target: READY, set: {failures: {"+": [{var: failures}, 1]}, note: {var: event.payload.error}}}
      CALL_DONE: {target: DONE, set: {note: {var: event.payload.result.ref}}}
  DONE: {}
  LOST: {terminal: true}
actions:
  call:
    type: webhook
    url: {cat: ["https://example.com/", {var: customer}]}
    body: {state: {var: state}, payload: {var: event.payload}}
    headers: {x-step: {var: stepIndex}}
    timeout: 5s
    answer_within: 1m
    retry: {attempts: 3, initial: 1s, factor: 2, max: 3s, jitter: 0}
    on_failure: {event: CALL_FAILED}
    on_success: {event: CALL_DONE}
  tell:
    type: publish
    topic: told
    key: {var: customer}
    value: {n: {var: failures}}
    unknown: retry
"""

PERSONAL = """
kind: lifecycle
id: personal
events: [NAMED, SIGNED, SENT]
initial: NEW
context: {email: null, profile: {name: null, city: somewhere}, visits: 0}
pii: [email, profile.name, event.payload.phone]
states:
  NEW:
    on:
      NAMED:
        target: KNOWN
        when: {"!!": [{var: event.payload.email}]}
        set:
          email: {var: event.payload.email}
          profile.name: {var: event.payload.name}
          profile.city: {var: event.payload.city}
      SIGNED: {when: {"===": [{var: event.payload.phone}, "555"]}, set: {visits: 1}}
  KNOWN:
    entry: [welcome]
    on:
      SENT: {when: {"===": [{var: email}, a@example.com]}, set: {visits: {"+": [{var: visits}, 1]}}}
actions:
  welcome:
    type: webhook
    url: https://example.com/welcome
    headers: {x-city: {var: profile.city}}
    body: {to: {var: email}, visits: {var: visits}}
"""
