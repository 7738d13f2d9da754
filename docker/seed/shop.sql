-- A small shop of two tenants; the same statements for PostgreSQL and MariaDB.
CREATE TABLE customers (
  customer_id bigint PRIMARY KEY, user_id varchar(32) NOT NULL, f_name varchar(64), l_name varchar(64),
  email varchar(128), phone varchar(24), city varchar(64), reg_date timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
CREATE INDEX customers_changed ON customers (user_id, updated_at, customer_id);

CREATE TABLE receipts (
  receipt_id bigint PRIMARY KEY, user_id varchar(32) NOT NULL, customer_id bigint NOT NULL, total decimal(12, 2),
  currency char(3), created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
CREATE INDEX receipts_changed ON receipts (user_id, updated_at, receipt_id);

INSERT INTO customers (customer_id, user_id, f_name, l_name, email, phone, city, reg_date) VALUES
  (1, 'acme-corp', 'Olena', 'Shevchenko', 'olena@shop.example', '+380501112233', 'Kyiv', '2023-02-11 09:15:00'),
  (2, 'acme-corp', 'Łukasz', 'Nowak', 'lukasz@shop.example', '+48501112233', 'Warszawa', '2023-06-30 17:40:12'),
  (3, 'globex', 'Zoë', 'Müller', 'zoe@shop.example', '+49151112233', 'München', '2024-01-05 12:00:00'),
  (4, 'acme-corp', 'Maria', 'O''Brien', 'maria@shop.example', NULL, 'Lviv', '2024-11-23 08:01:59');

INSERT INTO receipts (receipt_id, user_id, customer_id, total, currency, created_at) VALUES
  (101, 'acme-corp', 1, 412.50, 'UAH', '2024-12-01 10:00:00'),
  (102, 'acme-corp', 2, 99.99, 'PLN', '2024-12-02 11:30:00'),
  (103, 'globex', 3, 15.00, 'EUR', '2024-12-02 11:31:00'),
  (104, 'acme-corp', 1, 18.00, 'UAH', '2024-12-03 19:05:45');
