"""BigQuery, driven by Google's own client."""

import datetime
import decimal
import unittest

import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import bigquery

from harness import FakeTest, wait_for

INSERT = "bigquery.jobs.insert"
ONCE = {"retry": None, "job_retry": None}


class BigQueryTest(FakeTest):
    """Tests with a dataset."""

    def setUp(self):
        super().setUp()
        self.client = self.fake.bigquery(self.project)
        self.addCleanup(self.client.close)
        self.client.create_dataset("d")

    def rows(self, sql, **config):
        """A query's rows."""
        job = self.client.query(sql, job_config=bigquery.QueryJobConfig(**config), **ONCE)
        return [tuple(row) for row in job.result(retry=None)]

    def fails(self, sql, kind=exceptions.BadRequest, **config):
        """The message of a query that fails."""
        with self.assertRaises(kind) as caught:
            self.rows(sql, **config)
        return caught.exception.errors[0]["message"]

    def job_of(self, sql, **options):
        """A job that has ended, however it did."""
        job = self.client.query(sql, **{**ONCE, **options})
        return wait_for(lambda: self.client.get_job(job.job_id, location=job.location).done() and
                        self.client.get_job(job.job_id, location=job.location), "the job's end")


class Queries(BigQueryTest):
    """What SQL does."""

    def test_every_type_comes_back_as_it_went_in(self):
        moment = datetime.datetime(2024, 2, 29, 12, 30, 1, 250000)
        values = [
            ("i", "INT64", -5), ("f", "FLOAT64", 1.5), ("b", "BOOL", True), ("s", "STRING", "it's"),
            ("y", "BYTES", b"\x00\xff"), ("d", "DATE", moment.date()), ("dt", "DATETIME", moment),
            ("ts", "TIMESTAMP", moment.replace(tzinfo=datetime.timezone.utc)),
            ("t", "TIME", moment.time()), ("n", "NUMERIC", decimal.Decimal("1234567.123456789")),
        ]
        parameters = [bigquery.ScalarQueryParameter(*value[:1], value[1], value[2]) for value in values]
        parameters.append(bigquery.ArrayQueryParameter("a", "INT64", [1, 2]))
        names = [value[0] for value in values] + ["a"]
        sql = "select " + ", ".join(f"@{name}" for name in names) + ", struct(1 as x, 'y' as z), null"
        row, = self.rows(sql, query_parameters=parameters)
        self.assertEqual(list(row), [value[2] for value in values] + [[1, 2], {"x": 1, "z": "y"}, None])

    def test_positional_parameters_are_taken_in_order(self):
        parameters = [bigquery.ScalarQueryParameter(None, "INT64", value) for value in (7, 3)]
        self.assertEqual(self.rows("select ? - ?", query_parameters=parameters), [(4,)])

    def test_a_parameter_without_a_value_is_refused(self):
        self.assertIn("Query parameter 'x' not found", self.fails("select @x"))

    def test_tables_are_made_filled_changed_and_read(self):
        self.rows(f"create table `{self.project}.d.t` (id int64 not null, category string, day date) "
                  "partition by day cluster by category options (description = 'a table')")
        table = self.client.get_table("d.t")
        self.assertEqual([(field.name, field.field_type) for field in table.schema],
                         [("id", "INTEGER"), ("category", "STRING"), ("day", "DATE")])
        self.assertEqual((table.time_partitioning.field, table.clustering_fields), ("day", ["category"]))
        job = self.job_of("insert d.t (id, category, day) values (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02')")
        self.assertEqual((job.num_dml_affected_rows, job.statement_type), (2, "INSERT"))
        self.assertEqual(self.job_of("update d.t set category = 'c' where id = 2").num_dml_affected_rows, 1)
        merge = ("merge d.t using (select 2 as id union all select 3) s on t.id = s.id "
                 "when matched then delete when not matched then insert (id) values (s.id)")
        self.assertEqual(self.job_of(merge).num_dml_affected_rows, 2)
        self.assertEqual(self.rows("select id, category from d.t order by id"), [(1, "a"), (3, None)])
        self.assertEqual(sorted(row.id for row in self.client.list_rows("d.t")), [1, 3])
        self.rows("drop table d.t")
        self.assertEqual(list(self.client.list_tables("d")), [])

    def test_names_are_found_in_the_default_dataset(self):
        self.rows("create table d.t as select 1 as id")
        default = bigquery.DatasetReference(self.project, "d")
        sql = "with c as (select id from t) select c.id, t.id from c join t on c.id = t.id"
        self.assertEqual(self.rows(sql, default_dataset=default), [(1, 1)])
        self.assertIn('Table "t" must be qualified', self.fails("select * from t"))

    def test_dates_stay_dates(self):
        day = datetime.date(2024, 1, 31)
        sql = ("select date_add(d, interval 1 day), date_sub(d, interval 30 day), date_trunc(d, month) "
               "from (select @d as d)")
        parameter = bigquery.ScalarQueryParameter("d", "DATE", day)
        first = datetime.date(2024, 1, 1)
        self.assertEqual(self.rows(sql, query_parameters=[parameter]), [(datetime.date(2024, 2, 1), first, first)])

    def test_tables_are_copied_and_columns_named_in_full(self):
        self.rows("create table d.t as select 1 as id; create table d.u copy d.t")
        self.assertEqual(self.rows("select d.t.id, u.id, format('%d-%s', 5, 'x') from d.t, d.u"), [(1, 1, "5-x")])

    def test_another_project_is_read_by_its_name(self):
        other = self.fake.bigquery(f"{self.project}-2")
        self.addCleanup(other.close)
        self.rows("create table d.t as select 5 as id")
        self.assertEqual([tuple(row) for row in other.query(f"select id from `{self.project}`.d.t").result()], [(5,)])

    def test_rows_come_in_pages(self):
        job = self.client.query("select n from unnest(generate_array(1, 25)) as n order by n")
        self.assertEqual([row.n for row in job.result(page_size=10)], list(range(1, 26)))

    def test_a_result_can_be_kept_in_a_table(self):
        destination = f"{self.project}.d.kept"
        self.assertEqual(self.rows("select 1 as a", destination=destination), [(1,)])
        message = self.fails("select 2 as a", exceptions.Conflict, destination=destination)
        self.assertIn("Already Exists", message)
        self.rows("select 2 as a", destination=destination, write_disposition="WRITE_APPEND")
        self.assertEqual(self.rows("select sum(a) from d.kept"), [(3,)])


class Mistakes(BigQueryTest):
    """What BigQuery refuses, and in which words."""

    def test_a_syntax_error_has_its_place(self):
        for sql, message in (
                ("select 1;\nselec 2", 'Syntax error: Unexpected identifier "selec" at [2:1]'),
                ("select a\n from", "Syntax error: Unexpected end of script at [2:6]"),
                ("select 1 + 'x' frm t", 'Syntax error: Unexpected identifier "t" at [1:20]')):
            with self.subTest(sql):
                self.assertEqual(self.fails(sql), message)

    def test_an_unknown_column_has_its_place(self):
        self.rows("create table d.t (id int64)")
        self.assertIn("Unrecognized name: nme at [2:3]", self.fails("select id,\n  nme\nfrom d.t"))

    def test_missing_and_existing_tables_are_told(self):
        self.assertIn(f"Not found: Table {self.project}:d.t was not found in location US",
                      self.fails("select * from d.t", exceptions.NotFound))
        self.assertIn("Not found: Dataset", self.fails("create table e.t (id int64)", exceptions.NotFound))
        self.rows("create table d.t (id int64)")
        self.assertIn("Already Exists", self.fails("create table d.t (id int64)", exceptions.Conflict))
        self.rows("create table if not exists d.t (id int64)")

    def test_what_fails_while_it_runs_fails_the_job(self):
        self.assertIn("division by zero", self.fails("select 1 / (select 0)"))
        self.assertIn("boom", self.fails("select error('boom')"))
        job = self.job_of("select cast('x' as int64)")
        self.assertEqual((job.state, job.error_result["reason"]), ("DONE", "invalidQuery"))

    def test_a_location_must_be_the_datasets(self):
        europe = bigquery.Dataset(f"{self.project}.e")
        europe.location = "europe-west3"
        self.client.create_dataset(europe)
        self.client.query("create table e.t as select 1 as id", location="europe-west3").result()
        with self.assertRaises(exceptions.NotFound):
            self.client.query("select * from e.t", location="US").result()

    def test_update_and_delete_need_a_condition(self):
        self.rows("create table d.t (id int64)")
        self.assertIn("DELETE must have a WHERE clause at [1:1]", self.fails("delete d.t"))

    def test_legacy_sql_is_refused(self):
        self.assertIn("useLegacySql", self.fails("select 1", use_legacy_sql=True))

    def test_labels_follow_googles_rules(self):
        for labels in ({"Upper": "x"}, {"1st": "x"}, {"k": "Upper"}, {"k": "x" * 64}, {"k": "a.b"}, {"k" * 64: "x"}):
            with self.subTest(labels):
                self.assertIn("label", self.fails("select 1", labels=labels))
        self.assertIn("65 labels", self.fails("select 1", labels={f"k{n}": "" for n in range(65)}))
        self.rows("select 1", labels={"oxidag-dag": "a_b-1", "empty": ""})

    def test_a_job_that_would_cost_too_much_is_not_run(self):
        self.rows("create table d.t as select n from unnest(generate_array(1, 1000)) as n")
        self.assertIn("10485760 or higher required", self.fails("select n from d.t", maximum_bytes_billed=1000))
        self.assertEqual(len(self.rows("select n from d.t", maximum_bytes_billed=10485760)), 1000)


class Scripts(BigQueryTest):
    """Several statements in one job."""

    def test_a_script_has_a_job_for_each_statement(self):
        job = self.job_of("create table d.t (id int64); insert d.t values (1), (2); select sum(id) as s from d.t")
        self.assertEqual((job.statement_type, job.num_child_jobs), ("SCRIPT", 3))
        children = sorted(self.client.list_jobs(parent_job=job.job_id), key=lambda child: child.job_id)
        self.assertEqual([child.statement_type for child in children], ["CREATE_TABLE", "INSERT", "SELECT"])
        self.assertEqual(children[1].num_dml_affected_rows, 2)
        frames = [child.script_statistics.stack_frames[0] for child in children]
        lines = job.query.split("\n")
        self.assertTrue(all(lines[frame.start_line - 1][frame.start_column - 1:].startswith(frame.text.split("\n")[0])
                            for frame in frames))
        self.assertEqual([row.s for row in job.result()], [3])
        self.assertNotIn(children[0].job_id, [other.job_id for other in self.client.list_jobs()])

    def test_what_came_before_a_mistake_stays(self):
        job = self.job_of("create table d.t as select 1 as id; select * from d.missing; drop table d.t")
        self.assertEqual(job.error_result["reason"], "notFound")
        self.assertEqual(self.rows("select id from d.t"), [(1,)])

    def test_a_syntax_error_anywhere_lets_nothing_run(self):
        self.fails("create table d.t as select 1 as id; select from where")
        self.assertEqual(list(self.client.list_tables("d")), [])

    def test_variables_conditions_and_loops(self):
        sql = """
            declare n, total int64 default 0;
            declare word string;
            while n < 4 do
              set n = n + 1;
              if mod(n, 2) = 0 then
                set total = total + n;
              end if;
            end while;
            set word = (select 'sum');
            create temp table kept as select word, total;
            select * from kept"""
        self.assertEqual(self.rows(sql), [("sum", 6)])

    def test_a_handler_goes_on_after_an_error(self):
        self.assertEqual(self.rows("begin select error('x'); exception when error then select @@error.message; end"),
                         [("x",)])
        self.assertIn("too bad", self.fails("raise using message = 'too bad'"))
        self.assertIn("not one", self.fails("assert 1 = 2 as 'not one'"))

    def test_rows_can_be_gone_through(self):
        sql = """
            declare total int64 default 0;
            for r in (select n, date '2024-01-31' as d from unnest([1, 2, 3]) as n) do
              if r.n = 3 then break; end if;
              set total = total + r.n;
            end for;
            select total, @@project_id"""
        self.assertEqual(self.rows(sql), [(3, self.project)])

    def test_statements_can_be_made_of_text(self):
        self.assertEqual(self.rows("declare x int64; execute immediate 'select 4' into x; select x + 1"), [(5,)])

    def test_a_transaction_is_undone(self):
        self.rows("create table d.t (id int64)")
        self.rows("begin transaction; insert d.t values (1); rollback transaction")
        self.rows("begin transaction; insert d.t values (2); commit transaction")
        self.assertEqual(self.rows("select id from d.t"), [(2,)])


class DryRuns(BigQueryTest):
    """Jobs that do nothing."""

    def test_a_dry_run_counts_bytes_and_changes_nothing(self):
        self.rows("create table d.t as select n, 'text' as s from unnest(generate_array(1, 10)) as n")
        job = self.client.query("select n from d.t", job_config=bigquery.QueryJobConfig(dry_run=True))
        self.assertEqual((job.state, job.total_bytes_processed), ("DONE", 80))
        self.assertEqual([field.name for field in job.schema], ["n"])
        self.client.query("drop table d.t", job_config=bigquery.QueryJobConfig(dry_run=True))
        self.assertEqual(self.rows("select count(*) from d.t"), [(10,)])
        self.assertNotIn(job.job_id, self.fake.ledger(self.project)["jobs"])

    def test_a_mistake_is_the_answer_to_a_dry_run(self):
        for sql, place in (("select\n 1 frm t", "[2:8]"), ("select nme from d.t", "[1:8]")):
            with self.subTest(sql):
                self.rows("create table if not exists d.t (id int64)")
                with self.assertRaises(exceptions.BadRequest) as caught:
                    self.client.query(sql, job_config=bigquery.QueryJobConfig(dry_run=True), **ONCE)
                self.assertEqual(caught.exception.errors[0]["reason"], "invalidQuery")
                self.assertIn(f"at {place}", caught.exception.message)


class Life(BigQueryTest):
    """A job's states, and what can go wrong around it."""

    def begin(self, job_id="one", **options):
        """Starts a job."""
        return self.client.query("select 1 as a", job_id=job_id, **{**ONCE, **options})

    def test_a_second_job_of_the_same_id_is_refused(self):
        self.begin().result()
        with self.assertRaises(exceptions.Conflict) as caught:
            self.client._call_api(None, path=f"/projects/{self.project}/jobs", method="POST", data={
                "jobReference": {"projectId": self.project, "jobId": "one"},
                "configuration": {"query": {"query": "select 1", "useLegacySql": False}}})
        self.assertEqual(caught.exception.errors[0]["reason"], "duplicate")
        job = self.fake.ledger(self.project)["jobs"]["one"]
        self.assertEqual((job["made"], job["refused"], job["state"]), (1, 1, "DONE"))

    def test_a_held_job_runs_until_it_is_let_go(self):
        self.fake.control("settings", project=self.project, hold=True)
        job = self.begin()
        wait_for(lambda: self.client.get_job("one").state == "RUNNING", "the job to run")
        self.fake.control("settings", project=self.project, hold=False)
        self.assertEqual([row.a for row in job.result()], [1])

    def test_a_cancelled_job_has_done_nothing(self):
        self.fake.control("settings", project=self.project, hold=True)
        job = self.client.query("create table d.t (id int64)", job_id="one", **ONCE)
        wait_for(lambda: self.client.get_job("one").state == "RUNNING", "the job to run")
        job.cancel()
        done = wait_for(lambda: self.client.get_job("one").done() and self.client.get_job("one"), "the job's end")
        self.assertEqual(done.error_result["reason"], "stopped")
        self.assertEqual(list(self.client.list_tables("d")), [])

    def test_a_job_without_its_location_is_not_found(self):
        self.begin(location="europe-west3")
        url = f"{self.fake.url}/bigquery/v2/projects/{self.project}/jobs/one"
        self.assertEqual(self.fake.session().get(url).status_code, 404)
        self.assertEqual(self.fake.session().get(url, params={"location": "europe-west3"}).status_code, 200)

    def test_faults_come_as_often_as_told(self):
        for fault, kind in (("429", exceptions.TooManyRequests), ("503", exceptions.ServiceUnavailable),
                            ("500", exceptions.InternalServerError), ("reset", requests.ConnectionError)):
            with self.subTest(fault):
                self.fake.fault(self.project, INSERT, fault, times=1)
                with self.assertRaises(kind):
                    self.begin(f"job-{fault}")
                self.assertNotIn(f"job-{fault}", self.fake.ledger(self.project)["jobs"])
                self.begin(f"job-{fault}").result()

    def test_googles_client_tries_again(self):
        self.fake.fault(self.project, INSERT, "503", times=2, reason="backendError")
        retry = Retry(initial=0.01, maximum=0.02, timeout=20)
        self.client.query("select 1", job_id="one", retry=retry, job_retry=None).result()
        asked = [entry for entry in self.fake.ledger(self.project)["requests"] if entry["method"] == INSERT]
        self.assertEqual([entry["status"] for entry in asked], [503, 503, 200])

    def test_a_lost_reply_leaves_the_job(self):
        self.fake.fault(self.project, INSERT, "lost_reply")
        with self.assertRaises(requests.ConnectionError):
            self.begin()
        done = wait_for(lambda: self.client.get_job("one").done() and self.client.get_job("one"), "the job's end")
        self.assertIsNone(done.error_result)

    def test_a_job_can_be_told_to_fail(self):
        self.fake.fault(self.project, INSERT, "job_error", reason="jobBackendError", message="no luck")
        job = self.begin()
        done = wait_for(lambda: self.client.get_job("one").done() and self.client.get_job("one"), "the job's end")
        self.assertEqual((done.error_result["reason"], done.error_result["message"]), ("jobBackendError", "no luck"))
        self.assertIsNotNone(job)

    def test_rows_can_be_loaded_as_by_spark(self):
        schema = [{"name": "id", "type": "INT64"}, {"name": "day", "type": "DATE"}]
        for mode, rows in (("overwrite", [{"id": 1, "day": "2024-01-01"}]), ("append", '{"id": 2, "day": null}\n')):
            self.fake.control("bigquery/load", project=self.project, dataset="d", table="t", schema=schema, rows=rows,
                              mode=mode)
        self.assertEqual(self.rows("select id, day from d.t order by id"), [(1, datetime.date(2024, 1, 1)), (2, None)])


if __name__ == "__main__":
    unittest.main()
