struct Record {
  1: i64 number;
  2: string name;
  3: double score;
  4: bool active;
  5: string note;
}

service Workplace {
  i64 add(1: i64 left, 2: i64 right);
  binary echo(1: binary data);
  list<Record> swap(1: list<Record> records);
}
