@0xc1f0a64c9f0e6e21;

struct Record {
  number @0 :UInt32;
  name @1 :Text;
  score @2 :Float64;
  active @3 :Bool;
  note @4 :Text;
}

struct Records {
  records @0 :List(Record);
}

# Takes items, in the order in which they are put.
interface Sink {
  put @0 (item :UInt64) -> ();
  end @1 () -> (received :UInt64, checksum :UInt64);
}

interface Workplace {
  add @0 (left :UInt32, right :UInt32) -> (sum :UInt32);
  echo @1 (data :Data) -> (data :Data);
  swap @2 (records :List(Record)) -> (records :List(Record));
  take @3 () -> (sink :Sink);
  give @4 (count :UInt64, sink :Sink) -> ();
  mirror @5 (back :Sink) -> (sink :Sink);
}
