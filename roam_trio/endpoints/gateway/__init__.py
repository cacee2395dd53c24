"""A gateway: many clients in, pools of servers out."""
